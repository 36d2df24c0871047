"""From flushes to the bus: what several flushes counted for an organisation is told in one event.

A flush writes its summaries in its own transaction; twice a second they are taken, merged and published in another. So
each is told exactly once, and the bus carries two events a second for a busy organisation instead of ten.
"""

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

__all__ = ["INTERVAL", "announce", "keep"]

INTERVAL = 0.5
MAX_SUMMARIES = 5_000


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


def announce() -> int:
    """Publish what was kept; returns how many events that made."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM usage_summary WHERE id IN (SELECT id FROM usage_summary ORDER BY id LIMIT %s"
                " FOR UPDATE SKIP LOCKED) RETURNING org_id, data::text",
                [MAX_SUMMARIES],
            )
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
