"""From flushes to the bus: what several flushes counted for an organisation is told in one event.

A flush writes its summaries in its own transaction; twice a second they are taken, merged and published in another. So
each is told exactly once, and the bus carries two events a second for a busy organisation instead of ten.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import psycopg
from django.db import connection, transaction
from psycopg.types.json import Jsonb

from apps.events.contracts import NewEvent
from apps.events.services import publish_many
from apps.usage.drain.summaries import MAX_NAMED, OrgSummary
from apps.usage.drain.upkeep import LeftOut, is_the_servers

__all__ = ["INTERVAL", "announce", "keep"]

INTERVAL = 0.5
MAX_SUMMARIES = 5_000
_OLDEST = "SELECT id FROM usage_summary WHERE NOT id = ANY(%s::bigint[]) ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED"


def keep(summaries: list[OrgSummary]) -> None:
    """Write what a flush counted, in its transaction."""
    if not summaries:
        return
    # As bytes: Django's cursor would write the texts into the statement, quoted three times over.
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "INSERT INTO usage_summary (org_id, data) SELECT * FROM unnest(%b::uuid[], %b::jsonb[])",
            ([summary.org_id for summary in summaries], [Jsonb(summary.data, orjson.dumps) for summary in summaries]),
            prepare=True,
        )


def announce(left_out: LeftOut[int] | None = None) -> int:
    """Publish what was kept; returns how many events that made.

    Summaries that cannot be published join ``left_out`` by their ids, and wait; without it the error is raised.
    """
    left = left_out.now() if left_out else []
    try:
        return _announce(_OLDEST, (left, MAX_SUMMARIES))
    except Exception as error:
        if left_out is None or is_the_servers(error):
            raise
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST, (left, MAX_SUMMARIES))
        ids = [row_id for (row_id,) in cursor.fetchall()]
    told = 0

    def tell(some: Sequence[int]) -> None:
        nonlocal told
        told += _announce("SELECT unnest(%s::bigint[])", (list(some),))

    left_out.do(ids, tell)
    return told


def _announce(which: str, values: tuple[Any, ...]) -> int:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM usage_summary WHERE id IN ({which}) RETURNING org_id, data::text", values)  # noqa: S608
            merged: dict[UUID, dict[str, Any]] = {}
            for org_id, text in cursor.fetchall():
                data = orjson.loads(text)
                merged[org_id] = _added(merged[org_id], data) if org_id in merged else data
        publish_many(
            [NewEvent(type="usage.batch_ingested", data=data, org_id=org_id) for org_id, data in merged.items()]
        )
    return len(merged)


def _added(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Counts and costs summed, names united."""
    out: dict[str, Any] = {}
    for name, value in one.items():
        more = other[name]
        if isinstance(value, list):
            out[name] = sorted({*value, *more})[-MAX_NAMED:]
        elif isinstance(value, str):
            out[name] = f"{Decimal(value) + Decimal(more):.9f}"
        else:
            out[name] = value + more
    return out
