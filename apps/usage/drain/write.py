"""The transaction of a flush: inbox rows out, everything they mean in. It stands or falls together."""

import time
from uuid import UUID

import psycopg
from django.db import connection, transaction

from apps.events.contracts import NewEvent
from apps.events.services import publish_many
from apps.usage.drain.announce import keep
from apps.usage.drain.copybuf import HEADER, TRAILER
from apps.usage.drain.dedupe import insert_segment
from apps.usage.drain.flush import Flush
from apps.usage.drain.retention import make_partitions
from apps.usage.drain.rows import CHUNK, DELTA, SESSION_DELTA

__all__ = ["copy_rows", "write"]

_TELL_EVERY = 3600.0
_unpriced_told: dict[tuple[UUID, str], float] = {}


def write(flush: Flush, mask: int) -> int | None:
    """Commit a flush; returns the id of its segment of keys, or None where all its events were known.

    Its own commit may wait for the disk later than it returns: were it lost, the inbox rows would be back with it.
    Raises where an inbox row is gone: then somebody else drains this slot, and nothing of the flush is kept.
    """
    make_partitions(flush.drop_days)
    segment: int | None = None
    with transaction.atomic():
        with psycopg.Cursor(connection.connection) as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            cursor.execute(
                "DELETE FROM usage_inbox USING unnest(%b::smallint[], %b::bigint[]) AS taken (slot, id)"
                " WHERE usage_inbox.slot = taken.slot AND usage_inbox.id = taken.id",
                ([item.slot for item in flush.items], [item.id for item in flush.items]),
            )
            if cursor.rowcount != len(flush.items):
                raise RuntimeError("inbox rows were taken by another process")
            copy_rows(cursor, CHUNK.copy_sql, flush.chunks)
            copy_rows(cursor, DELTA.copy_sql, flush.deltas)
            copy_rows(cursor, SESSION_DELTA.copy_sql, flush.session_deltas)
            if flush.people:
                cursor.execute(
                    "INSERT INTO usage_person (id, org_id, email, name)"
                    " SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
                    [list(column) for column in zip(*flush.people, strict=True)],
                )
            if flush.late_orgs:
                cursor.execute(
                    "UPDATE usage_org SET past_version = past_version + 1 WHERE id = ANY(%s)", [flush.late_orgs]
                )
        if flush.new_keys is not None and len(flush.new_keys.keys):
            segment = insert_segment(mask, flush.new_keys.stripe, 0, flush.new_keys.keys)
        keep(flush.summaries)
        _tell_unpriced(flush)
    return segment


def _tell_unpriced(flush: Flush) -> None:
    """Say once an hour which models the price book does not know."""
    moment = time.monotonic()
    news = []
    for key, events in flush.unpriced_models.items():
        if moment - _unpriced_told.get(key, -_TELL_EVERY) >= _TELL_EVERY:
            _unpriced_told[key] = moment
            org_id, model = key
            news.append(NewEvent("usage.model_unpriced", {"model": model, "events": events}, org_id))
    if len(_unpriced_told) > 100_000:
        _unpriced_told.clear()
    publish_many(news)


def copy_rows(cursor: psycopg.Cursor[tuple[object, ...]], sql: str, rows: bytes) -> None:
    """Send rows in COPY form, if there are any."""
    if not rows:
        return
    with cursor.copy(sql) as copy:
        copy.write(HEADER)
        copy.write(rows)
        copy.write(TRAILER)
