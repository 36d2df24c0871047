"""How to read what the engine counted. SQL level: for selectors of usage and analytics.

Totals: ``rollup_sql(grain)`` gives a subquery with the columns ``bucket, org, who, what`` and the measures, folded
rows and deltas together; sum over it. Join ``usage_who`` and ``usage_what`` by id for names. Raw events:
:mod:`apps.usage.chunks`, and ``apps.usage.selectors.raw`` to search them. Where several statements must agree
with ``as_of``, call :func:`as_of` first.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from django.db import connection

from apps.core import clock

__all__ = [
    "MEASURES",
    "Grain",
    "InboxState",
    "OrgState",
    "Side",
    "as_of",
    "inbox_state",
    "org_number",
    "org_state",
    "rollup_sql",
    "session_sql",
]

Grain = Literal["minute", "quarter", "day"]
Side = Literal["both", "what", "who"]

MEASURES = (
    "events", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens",
    "web_searches", "cost_nano", "reported_nano", "unpriced", "latency_count", "latency_ms", "latency_hist",
)  # fmt: skip
_COLUMNS = ", ".join(("who", "what", *MEASURES))
_KEYS: dict[Side, tuple[str, ...]] = {
    "both": ("who", "what"),
    "what": ("what",),
    "who": ("who", "event_type", "status"),
}
_DAYS: dict[Side, str] = {
    "both": "usage_rollup_day",
    "what": "usage_rollup_day_what",
    "who": "usage_rollup_day_who",
}


def org_number(org_id: UUID) -> int | None:
    """The surrogate of an organisation, or None where nothing was counted for it yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM usage_org WHERE org_id = %s", [org_id])
        row = cursor.fetchone()
    return row[0] if row else None


# When the oldest of what an organisation sent and is not counted was received.
_OLDEST = (
    "least((SELECT min(received_at) FROM usage_inbox WHERE org_id = %(org)s),"
    " (SELECT min(received_at) FROM usage_set_aside WHERE org_id = %(org)s))"
)


@dataclass(frozen=True, slots=True)
class OrgState:
    """What to know before reading: an organisation's surrogate, the version of its past, and :func:`as_of`.

    As long as the version is the same, so are all sums of the days before its yesterday.
    """

    number: int
    past: int
    as_of: datetime


def org_state(org_id: UUID) -> OrgState | None:
    """The state of an organisation, or None where nothing was counted for it yet. Ask before reading."""
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT id, past_version, {_OLDEST} FROM usage_org WHERE org_id = %(org)s",  # noqa: S608
            {"org": org_id},
        )
        row = cursor.fetchone()
    return OrgState(int(row[0]), int(row[1]), min(moment, row[2] or moment)) if row else None


def rollup_sql(grain: Grain, side: Side = "both") -> str:
    """A parenthesised subquery of one organisation's sums in ``[start, end)``, columns ``bucket, who, what`` and
    :data:`MEASURES`; several rows may share a key.

    Parameters: ``%(org)s`` (its surrogate), ``%(start)s``, ``%(end)s`` (timestamps; for ``day`` dates in the
    organisation's time zone). ``minute`` reaches back 35 days; ``quarter`` and ``day`` for ever. ``start`` and ``end``
    lie on borders of the grain.

    Days are kept by one side, too, a tenth of the rows and less: ``what`` has no column ``who``, and ``who`` has
    ``event_type, status`` in the place of ``what``.
    """
    if grain == "day":
        zone = "(SELECT timezone FROM usage_org WHERE id = %(org)s)"
        columns = ", ".join((*_KEYS[side], *MEASURES))
        kinds = " JOIN usage_what k ON k.id = usage_delta.what" if side == "who" else ""
        return (
            f"(SELECT day AS bucket, {columns} FROM {_DAYS[side]}"  # noqa: S608
            " WHERE org = %(org)s AND day >= %(start)s AND day < %(end)s"
            f" UNION ALL SELECT (minute AT TIME ZONE {zone})::date,"
            f" {columns} FROM usage_delta{kinds} WHERE org = %(org)s"
            f" AND minute >= (%(start)s::date::timestamp AT TIME ZONE {zone})"
            f" AND minute < (%(end)s::date::timestamp AT TIME ZONE {zone}))"
        )
    table = "usage_rollup_minute" if grain == "minute" else "usage_rollup_quarter"
    bucket = "minute" if grain == "minute" else "date_bin('15 minutes', minute, '2000-01-01')"
    return (
        f"(SELECT bucket, {_COLUMNS} FROM {table}"  # noqa: S608
        " WHERE org = %(org)s AND bucket >= %(start)s AND bucket < %(end)s"
        f" UNION ALL SELECT {bucket}, {_COLUMNS} FROM usage_delta"
        " WHERE org = %(org)s AND minute >= %(start)s AND minute < %(end)s)"
    )


def session_sql() -> str:
    """A parenthesised subquery of one organisation's sessions up to now: ``id, session_id, who, models, started_at,
    last_at``, counts, tokens and ``cost_nano``. Parameter ``%(org)s``."""
    sums = ", ".join(
        f"sum({name}) AS {name}"
        for name in (
            "events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
            "cache_write_tokens", "cost_nano",
        )
    )  # fmt: skip
    columns = (
        "started_at, last_at, events, calls, tool_calls, errors, input_tokens, output_tokens, cache_read_tokens,"
        " cache_write_tokens, cost_nano"
    )
    return (
        f"(SELECT id, min(session_id) AS session_id, (array_agg(who ORDER BY started_at))[1] AS who,"  # noqa: S608
        " (SELECT coalesce(array_agg(DISTINCT m ORDER BY m), '{}') FROM unnest(string_to_array(string_agg("
        "array_to_string(models, E'\\x1f'), E'\\x1f'), E'\\x1f')) AS m WHERE m <> '') AS models,"
        f" min(started_at) AS started_at, max(last_at) AS last_at, {sums} FROM ("
        f"SELECT id, session_id, who, models, {columns} FROM usage_session WHERE org = %(org)s"
        f" UNION ALL SELECT session, session_id, who, models, {columns} FROM usage_session_delta"
        " WHERE org = %(org)s) AS parts GROUP BY id)"
    )


def as_of(org_id: UUID) -> datetime:
    """Up to when everything acknowledged for the organisation is counted.

    Ask before reading: an event acknowledged before the answer has left the inbox by now. What was set aside is not
    counted, however long ago that was.
    """
    moment = clock.now()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_OLDEST}", {"org": org_id})
        oldest: datetime | None = cursor.fetchone()[0]
    return moment if oldest is None else min(moment, oldest)


@dataclass(frozen=True, slots=True)
class InboxState:
    """What waits to be counted."""

    batches: int
    events: int
    lag_seconds: float


def inbox_state() -> InboxState:
    """How much waits, and for how long already."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), coalesce(sum(events), 0), min(received_at) FROM usage_inbox")
        batches, events, oldest = cursor.fetchone()
    lag = max(0.0, (clock.now() - oldest).total_seconds()) if oldest else 0.0
    return InboxState(batches, int(events), lag)
