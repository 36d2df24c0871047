"""Rollups out of raw events: to see that they agree, and to make them anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import psycopg
from django.db import connection, transaction

from apps.accounts.selectors import org_get
from apps.audit.services import record
from apps.core import clock
from apps.core.errors import ValidationFailed
from apps.projects.selectors import raw_retention_floor
from apps.usage.chunks import Chunk, chunks_of, fetch, micros_of
from apps.usage.drain.fold import DAY_TABLES, LOCK_ROLLUPS, MINUTE_DAYS
from apps.usage.drain.rows import DELTA, Events, Sessions, delta_packs, exact_sum
from apps.usage.drain.write import copy_rows

__all__ = ["Difference", "check_rollups", "rebuild_rollups"]

_SUMS = (
    "events, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,"
    " web_searches, cost_nano, reported_nano, unpriced, latency_count, latency_ms"
)
_NAMES = tuple(name.strip() for name in _SUMS.split(","))
_COLUMNS = {
    "input_tokens": "input", "output_tokens": "output", "cache_read_tokens": "cache_read",
    "cache_write_5m_tokens": "write_5m", "cache_write_1h_tokens": "write_1h", "web_searches": "web",
    "cost_nano": "cost", "reported_nano": "reported",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Difference:
    """A day's sum that does not agree: in a table, what it says and what the raw events say."""

    table: str
    day: date
    measure: str
    rollup: int
    raw: int


@dataclass(frozen=True, slots=True)
class _Period:
    """Whole days of an organisation (its surrogate), as moments."""

    org: int
    start: datetime
    end: datetime
    zone: ZoneInfo


def check_rollups(*, org_id: UUID, first: date, last: date) -> list[Difference]:
    """Compare the sums of each day from ``first`` to ``last`` (in the organisation's time zone) with its raw events.

    All is read in one snapshot, so events that are counted meanwhile do not matter.
    """
    outermost = not connection.in_atomic_block
    with transaction.atomic():
        if outermost:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        period = _period(org_id, first, last)
        found: list[Difference] = []
        day = first
        while day <= last:
            part = _part(period, day)
            raw = _raw_sums(part)
            for table, sums in _rollup_sums(part, day).items():
                if table == "minute" and part.start < clock.now() - timedelta(days=MINUTE_DAYS - 1):
                    continue  # minutes are not kept for as long as raw events may be
                found += [
                    Difference(table, day, name, value, raw[name]) for name, value in sums.items() if value != raw[name]
                ]
            day += timedelta(days=1)
    return found


def rebuild_rollups(*, org_id: UUID, first: date, last: date, fewer: bool = False) -> int:
    """Make the rollups of these days anew out of their raw events; returns how many events there are.

    Refused where raw events of a day may be gone already, and where a day would have fewer events than it had: they
    were kept for less, or too old to be kept when they came. ``fewer`` takes that for what is to be mended. The drain
    waits for as long as it takes; its commits before and after are in both, raw events and rollups.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK_ROLLUPS)
            cursor.execute("LOCK TABLE usage_delta_pack IN SHARE ROW EXCLUSIVE MODE")
        period = _period(org_id, first, last)
        before = _events_by_day(period, first, last)
        with connection.cursor() as cursor:
            times: dict[str, Any] = {
                "org": period.org,
                "start": period.start,
                "end": period.end,
                "first": first,
                "last": last,
            }
            for statement in (
                "DELETE FROM usage_delta_pack WHERE org = %(org)s AND minute >= %(start)s AND minute < %(end)s",
                "DELETE FROM usage_rollup_minute WHERE org = %(org)s AND bucket >= %(start)s AND bucket < %(end)s",
                "DELETE FROM usage_rollup_quarter WHERE org = %(org)s AND bucket >= %(start)s AND bucket < %(end)s",
                *(
                    f"DELETE FROM {table} WHERE org = %(org)s AND day >= %(first)s AND day <= %(last)s"  # noqa: S608
                    for table in DAY_TABLES
                ),
                "UPDATE usage_org SET past_version = past_version + 1 WHERE id = %(org)s",
            ):
                cursor.execute(statement, times)
        starts = np.array([micros_of(_midnight(day, period.zone)) for day in before], dtype=np.int64)
        found = np.zeros(len(before), dtype=np.int64)
        for chunk, where in _chunks(period):
            days = np.searchsorted(starts, chunk.columns["ts"][where], side="right") - 1
            found += np.bincount(days, minlength=len(before))
            with psycopg.Cursor(connection.connection) as copying:
                copy_rows(copying, DELTA.copy_sql, delta_packs(_events(chunk, where)))
        events = int(found.sum())
        if not fewer:
            _refuse_fewer(before, found.tolist())
        record(
            action="usage.rollups_rebuilt", org_id=org_id, target_type="rollups", target_id=str(period.org),
            target_label=f"{first} to {last}", after={"events": events},
        )  # fmt: skip
    return events


def _events_by_day(period: _Period, first: date, last: date) -> dict[date, int]:
    """How many events the rollups have of each day."""
    found, day = dict[date, int](), first
    while day <= last:
        part = _part(period, day)
        rows = fetch(
            "SELECT coalesce(sum(events), 0) FROM (SELECT events FROM usage_rollup_quarter"
            " WHERE org = %(org)s AND bucket >= %(start)s AND bucket < %(end)s UNION ALL SELECT events"
            " FROM usage_delta WHERE org = %(org)s AND minute >= %(start)s AND minute < %(end)s) AS s",
            {"org": part.org, "start": part.start, "end": part.end},
        )
        found[day] = int(rows[0][0])
        day += timedelta(days=1)
    return found


def _refuse_fewer(before: dict[date, int], found: list[int]) -> None:
    for (day, events), raw in zip(before.items(), found, strict=True):
        if raw < events:
            raise ValidationFailed(
                f"{day}: the rollups have {events:,} events, of which raw events are kept of {raw:,}; made anew they"
                " would lose the others",
                code="fewer_raw_events",
            )


def _period(org_id: UUID, first: date, last: date) -> _Period:
    org = org_get(org_id)
    kept_days = min(org.raw_retention_days, raw_retention_floor(org_id) or org.raw_retention_days)
    whole_since = clock.now().date() - timedelta(days=kept_days - 1)
    if first > last:
        raise ValidationFailed("The first day must not be after the last")
    if first < whole_since:
        raise ValidationFailed(
            f"Raw events are kept for {kept_days} days: they are whole from {whole_since} on, not from {first}"
        )
    rows = fetch("SELECT id, timezone FROM usage_org WHERE org_id = %s", (org_id,))
    if not rows:
        raise ValidationFailed("Nothing was ever counted for this organisation")
    zone = ZoneInfo(rows[0][1])
    return _Period(rows[0][0], _midnight(first, zone), _midnight(last + timedelta(days=1), zone), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _part(period: _Period, day: date) -> _Period:
    return _Period(
        period.org, _midnight(day, period.zone), _midnight(day + timedelta(days=1), period.zone), period.zone
    )


def _chunks(period: _Period) -> Iterator[tuple[Chunk, Any]]:
    """The chunks with events of the period, and the places of these; in the caller's transaction."""
    start, end = micros_of(period.start), micros_of(period.end)
    for chunk in chunks_of(period.org, period.start, period.end):
        where = np.flatnonzero((chunk.columns["ts"] >= start) & (chunk.columns["ts"] < end))
        if len(where):
            yield chunk, where


def _events(chunk: Chunk, where: Any) -> Events:
    columns = {name: column[where] for name, column in chunk.columns.items()}
    none = np.zeros(len(where), dtype=np.int64)
    return Events(
        columns=columns, org=np.full(len(where), chunk.org), who=columns["who"].astype(np.int64),
        what=columns["what"].astype(np.int64), session=none, session_place=none, sessions=Sessions(), retention=none,
        parts=[],
    )  # fmt: skip


def _raw_sums(period: _Period) -> dict[str, int]:
    sums = dict.fromkeys(_NAMES, 0)
    for chunk, where in _chunks(period):
        columns = chunk.columns
        sums["events"] += len(where)
        for name, column in _COLUMNS.items():
            sums[name] += exact_sum(columns[column][where].astype(np.int64))
        sums["unpriced"] += int(((columns["flags"][where] & 8) != 0).sum())
        latency = columns["latency"][where]
        sums["latency_count"] += int((latency >= 0).sum())
        sums["latency_ms"] += int(latency[latency >= 0].sum(dtype=np.int64))
    return sums


def _rollup_sums(period: _Period, day: date) -> dict[str, dict[str, int]]:
    added = ", ".join(f"coalesce(sum({name}), 0)" for name in _NAMES)
    params = {"org": period.org, "start": period.start, "end": period.end, "day": day}
    deltas = f"SELECT {_SUMS} FROM usage_delta WHERE org = %(org)s AND minute >= %(start)s AND minute < %(end)s"  # noqa: S608
    out = {}
    for table, condition in (
        ("minute", "bucket >= %(start)s AND bucket < %(end)s"),
        ("quarter", "bucket >= %(start)s AND bucket < %(end)s"),
        ("day", "day = %(day)s"),
        ("day_what", "day = %(day)s"),
        ("day_who", "day = %(day)s"),
    ):
        rows = fetch(
            f"SELECT {added} FROM (SELECT {_SUMS} FROM usage_rollup_{table} WHERE org = %(org)s AND {condition}"  # noqa: S608
            f" UNION ALL {deltas}) AS s",
            params,
        )
        out[table] = dict(zip(_NAMES, map(int, rows[0]), strict=True))
    return out
