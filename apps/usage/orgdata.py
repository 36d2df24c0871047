"""The share of usage in an organisation's data: raw events and sums exported, every row erased.

Its tables are not Django's; those of the engine know the organisation by its surrogate. The keys of counted events
(``usage_id_segment``) name no organisation: they are digests under its salt, which goes with it, and are dropped with
their stripe within days.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any
from uuid import UUID

import orjson
from django.db import connection

from apps.core.orgdata import OrgArea, OrgTable, erase_models, model_tables, register_area
from apps.core.tenancy import org_scope
from apps.usage import store
from apps.usage.imports import store as import_store
from apps.usage.models import Import
from apps.usage.selectors import event_search

__all__ = ["ENGINE_TABLES", "register"]

# Those first that name others, or become others; the organisation's own row, which all are found by, last.
ENGINE_TABLES = {
    "usage_inbox": "org_id", "usage_set_aside": "org_id", "usage_summary": "org_id", "usage_hint": "org",
    "usage_unhinted": "org", "usage_chunk": "org", "usage_delta_pack": "org",
    "usage_rollup_minute": "org", "usage_rollup_quarter": "org", "usage_rollup_day": "org",
    "usage_rollup_day_what": "org", "usage_rollup_day_who": "org", "usage_session_delta_pack": "org",
    "usage_session": "org", "usage_session_part": "org", "usage_who": "org", "usage_tagset": "org",
    "usage_tag_value": "org_id", "usage_tag_key": "org_id", "usage_person": "org_id",
    "usage_price": "org_id", "usage_reprice": "org_id", "usage_name": "org", "usage_day_tally": "org_id",
    "usage_org": "org_id",
}  # fmt: skip
_EVENTS_AT_ONCE = 500


# ---------------------------------------------------------------- exporting
def _events(org_id: UUID) -> Iterator[dict[str, Any]]:
    """Raw events that are still kept, newest first."""
    after = None
    while rows := event_search(org_id=org_id, filters={}, limit=_EVENTS_AT_ONCE, after=after):
        yield from (row.body for row in rows)
        after = (rows[-1].at, rows[-1].event_id)


def _days(org_id: UUID) -> Iterator[dict[str, Any]]:
    """What was counted, by day, who and what; costs in nano-USD. Several rows may share a key: they add up."""
    sql = f"""
        SELECT to_jsonb(d) - 'bucket' - 'who' - 'what' - 'latency_hist'
            || jsonb_build_object('day', d.bucket, 'who', to_jsonb(w) - 'org', 'what', to_jsonb(t), 'tags', g.tags)
        FROM {store.rollup_sql("day")} d JOIN usage_who w ON w.id = d.who JOIN usage_what t ON t.id = d.what
            LEFT JOIN usage_tagset g ON g.id = w.tagset ORDER BY d.bucket"""  # noqa: S608
    number = store.org_number(org_id)
    if number is not None:
        yield from _streamed(sql, {"org": number, "start": date(1970, 1, 1), "end": date(9999, 1, 1)})


def _of_table(table: str) -> OrgTable:
    column = ENGINE_TABLES[table]
    mine = "(SELECT id FROM usage_org WHERE org_id = %s)" if column == "org" else "%s"
    sql = f"SELECT to_jsonb(t) FROM {table} t WHERE {column} = {mine}"  # noqa: S608 - names of ours, nobody's input

    def rows(org_id: UUID) -> Iterator[dict[str, Any]]:
        yield from _streamed(sql, [org_id])

    return OrgTable(table, rows)


def _streamed(sql: str, parameters: list[Any] | dict[str, Any]) -> Iterator[dict[str, Any]]:
    with connection.chunked_cursor() as cursor:
        cursor.execute(sql, parameters)
        while batch := cursor.fetchmany(500):
            for (row,) in batch:
                yield orjson.loads(row) if isinstance(row, str) else row


def _tables() -> list[OrgTable]:
    plain = (
        "usage_session", "usage_session_part", "usage_tag_key", "usage_tag_value", "usage_person", "usage_price",
        "usage_reprice",
    )  # fmt: skip
    return [
        OrgTable("events", _events),
        OrgTable("days", _days),
        *map(_of_table, plain),
        *model_tables("usage"),
    ]  # fmt: skip


# ---------------------------------------------------------------- erasing
def _erase(org_id: UUID, limit: int) -> dict[str, int]:
    with org_scope(org_id):
        for name in Import.objects.exclude(stored_as="").values_list("stored_as", flat=True):
            import_store.remove(name)
    if deleted := erase_models("usage", org_id, limit):
        return deleted
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM usage_org WHERE org_id = %s", [org_id])
        found = cursor.fetchone()
        number = found[0] if found else None
        if deleted := _delete_from([table for table in ENGINE_TABLES if table != "usage_org"], org_id, number, limit):
            return deleted
        # The drain names nobody of it from here on (dims.py). What it named since the table was looked at goes, too.
        cursor.execute("SELECT FROM usage_org WHERE org_id = %s FOR UPDATE", [org_id])
    return _delete_from(ENGINE_TABLES, org_id, number, limit)


def _delete_from(tables: Iterable[str], org_id: UUID, number: int | None, limit: int) -> dict[str, int]:
    """Up to ``limit`` rows of the first of these that has some of the organisation."""
    with connection.cursor() as cursor:
        for table in tables:
            column = ENGINE_TABLES[table]
            value = number if column == "org" else org_id
            if value is not None and (rows := _delete(cursor, table, column, value, limit)):
                return {table: rows}
    return {}


def _delete(cursor: Any, table: str, column: str, value: Any, limit: int) -> int:
    """Up to ``limit`` rows of a table, partition by partition: a row's place is its own only within one."""
    cursor.execute(
        "SELECT c.oid::regclass::text FROM pg_partition_tree(%s::regclass) t JOIN pg_class c ON c.oid = t.relid"
        " WHERE t.isleaf ORDER BY 1",
        [table],
    )
    for (leaf,) in cursor.fetchall() or [(table,)]:
        mine = f"SELECT ctid FROM {leaf} WHERE {column} = %s LIMIT %s"  # noqa: S608
        cursor.execute(f"DELETE FROM {leaf} WHERE ctid = ANY(ARRAY({mine}))", [value, limit])  # noqa: S608
        if cursor.rowcount:
            return int(cursor.rowcount)
    return 0


def register() -> None:
    """Make the area known."""
    register_area(OrgArea("usage", _tables, _erase))
