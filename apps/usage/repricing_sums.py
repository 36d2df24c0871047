"""Sums priced again, of what raw events are gone of: a day in one transaction."""

import operator
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np
from django.db import connection, transaction

from apps.core import clock
from apps.usage.chunks import chunks_of, fetch, lock_costs, micros_of, scan_slice
from apps.usage.drain.fold import FITS
from apps.usage.ingest.what import UNPRICED
from apps.usage.repricing_run import Ints, Run, What, correct_sums, prices_of, update_run

__all__ = ["history_days", "reprice_day"]

_MINUTE_US = 60_000_000
_QUARTER_US = 15 * _MINUTE_US
_QUARTER = timedelta(minutes=15)
_BEGINNING = date(2000, 1, 1)
# Raw events are kept for a day at least, so those of younger days are all there.
_WHOLE_DAYS = 2
_TRIES = 3
_NAMES: Final = ("who", "what", "events", "input", "output", "cache_read", "write_5m", "write_1h", "web", "cost",
                 "reported", "unpriced")  # fmt: skip

_HISTORY: Final = f"""
SELECT bucket, who, what, sum(events)::bigint, sum(input_tokens)::bigint, sum(output_tokens)::bigint,
    sum(cache_read_tokens)::bigint, sum(cache_write_5m_tokens)::bigint, sum(cache_write_1h_tokens)::bigint,
    sum(web_searches)::bigint, sum(cost_nano)::bigint, sum(reported_nano)::bigint, sum(unpriced)::bigint
FROM (
    SELECT bucket, who, what, events, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,
        cache_write_1h_tokens, web_searches, cost_nano, reported_nano, unpriced FROM usage_rollup_quarter
    WHERE org = %(org)s AND bucket >= %(start)s AND bucket < %(end)s
    UNION ALL
    SELECT date_bin('15 minutes', minute, '2000-01-01'), who, what, events, input_tokens, output_tokens,
        cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens, web_searches, cost_nano, reported_nano,
        unpriced FROM usage_delta WHERE org = %(org)s AND minute >= %(start)s AND minute < %(end)s
) AS rows GROUP BY bucket, who, what HAVING {FITS} ORDER BY bucket, who, what
"""  # noqa: S608

# Sums by quarter-hour (µs since 1970), who and what.
_Key = tuple[int, int, int]
_Sums = dict[_Key, tuple[int, ...]]


def history_days(run: Run, org: int) -> Iterator[date]:
    """The days, in UTC, of the run's period of which raw events may be gone, from where it has come to."""
    edge = clock.now().date() - timedelta(days=_WHOLE_DAYS - 1)
    if run.end_at is not None:
        edge = min(edge, (run.end_at - timedelta(microseconds=1)).date() + timedelta(days=1))
    first = fetch("SELECT min(bucket) FROM usage_rollup_quarter WHERE org = %s", (org,))[0][0]
    oldest = fetch("SELECT min(minute) FROM usage_delta_pack WHERE org = %s", (org,))[0][0]
    begins = [moment.date() for moment in (first, oldest) if moment is not None]
    if not begins:
        return
    day = max(min(begins), run.start_at.date() if run.start_at else _BEGINNING)
    if run.at_day is not None:
        day = max(day, run.at_day + timedelta(days=1))
    while day < edge:
        yield day
        day += timedelta(days=1)


def reprice_day(run: Run, org: int, org_id: UUID, whats: dict[int, What], day: date) -> None:
    """Price the quarter-hours of a day by the sums of what raw events are not kept of, rounded once for each row.

    For how long they are kept is said by the organisation and its projects and may have been said otherwise when they
    were counted: so what is gone is what the sums have beyond the raw events. A row in which priced, unpriced and
    reported costs are mixed cannot be told apart any more and stays as it is.
    """
    start = datetime.combine(day, datetime.min.time(), tzinfo=clock.now().tzinfo)
    low = _next_quarter(max(start, run.start_at) if run.start_at else start)
    high = _next_quarter(min(start + timedelta(days=1), run.end_at) if run.end_at else start + timedelta(days=1))
    with transaction.atomic():
        # The difference is from what is stored.
        lock_costs(org)
        rows = {key: sums for key, sums in _gone(org, low, high).items() if key[2] in whats}
        totals = {"looked_at": 0, "changed": 0, "left_alone": 0, "cost_before": 0, "cost_after": 0}
        if rows:
            columns = np.array([(*key[1:], *sums) for key, sums in rows.items()], dtype=np.int64).T
            c = dict(zip(_NAMES, columns, strict=True))
            ts = np.array([key[0] for key in rows], dtype=np.int64)
            totals = _price_sums(run, org, org_id, c, ts, whats)
        run.at_day = day
        update_run(run, at_org=org, at_day=day, add=totals)


def _next_quarter(moment: datetime) -> datetime:
    """The moment, or the next beginning of a quarter-hour."""
    floor = moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)
    return floor if floor == moment else floor + _QUARTER


def _gone(org: int, start: datetime, end: datetime) -> _Sums:
    """What the sums have beyond the raw events that are kept, in the caller's transaction."""
    for _ in range(_TRIES):
        history = _history(org, start, end)
        if sum(sums[0] for sums in history.values()) == _kept_events(org, start, end):
            return {}
        kept = _kept(org, start, end)
        # Where something was counted meanwhile the two do not belong together.
        if _history(org, start, end) == history:
            return _beyond(history, kept)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE usage_delta_pack IN SHARE ROW EXCLUSIVE MODE")
    return _beyond(_history(org, start, end), _kept(org, start, end))


def _beyond(history: _Sums, kept: _Sums) -> _Sums:
    out: _Sums = {}
    for key, sums in history.items():
        rest = tuple(map(operator.sub, sums, kept[key])) if key in kept else sums
        if rest[0] > 0:
            out[key] = rest
    return out


def _history(org: int, start: datetime, end: datetime) -> _Sums:
    rows = fetch(_HISTORY, {"org": org, "start": start, "end": end})
    return {(micros_of(bucket), who, what): tuple(sums) for bucket, who, what, *sums in rows}


def _kept_events(org: int, start: datetime, end: datetime) -> int:
    rows = fetch(
        f"SELECT events, CASE WHEN first_at < %(start)s OR last_at >= %(end)s THEN {scan_slice('ts')} END"  # noqa: S608
        " FROM usage_chunk WHERE org = %(org)s AND last_at >= %(start)s AND first_at < %(end)s",
        {"org": org, "start": start, "end": end},
    )
    low, high, count = micros_of(start), micros_of(end), 0
    for events, data in rows:
        if data is not None:
            ts = np.frombuffer(data, dtype="<i8")
            events = int(((ts >= low) & (ts < high)).sum())
        count += events
    return count


def _kept(org: int, start: datetime, end: datetime) -> _Sums:
    """The sums of the raw events."""
    found: dict[_Key, Ints] = {}
    low, high = micros_of(start), micros_of(end)
    for chunk in chunks_of(org, start, end):
        ts = chunk.columns["ts"]
        where = np.flatnonzero((ts >= low) & (ts < high))
        if not len(where):
            continue
        c = {name: column[where].astype(np.int64) for name, column in chunk.columns.items() if name != "id"}
        columns = np.stack([np.ones(len(where), dtype=np.int64), *(c[name] for name in _NAMES[3:-1]),
                            ((c["flags"] & UNPRICED) != 0).astype(np.int64)])  # fmt: skip
        bucket = c["ts"] // _QUARTER_US * _QUARTER_US
        keys, place = np.unique(np.stack((bucket, c["who"], c["what"])), axis=1, return_inverse=True)
        sums = np.zeros((keys.shape[1], len(columns)), dtype=np.int64)
        np.add.at(sums, place.reshape(-1), columns.T)
        for key, column in zip(keys.T.tolist(), sums, strict=True):
            number: _Key = (key[0], key[1], key[2])
            found[number] = found[number] + column if number in found else column
    return {key: tuple(column.tolist()) for key, column in found.items()}


def _price_sums(
    run: Run, org: int, org_id: UUID, c: dict[str, Ints], ts: Ints, whats: dict[int, What]
) -> dict[str, int]:
    whole = (c["unpriced"] == c["events"]) | ((c["unpriced"] == 0) & (c["reported"] == 0))
    wanted = c["unpriced"] == c["events"] if run.only_unpriced else whole
    wanted &= c["events"] > 0
    nano, priced = prices_of(org_id, c["what"], ts, c, whats)
    moved = wanted & priced & (nano != c["cost"]) | (wanted & priced & (c["unpriced"] > 0))
    if moved.any():
        minute = ts // _MINUTE_US
        correct_sums(
            org, minute[moved], c["who"][moved], c["what"][moved], (nano - c["cost"])[moved], -c["unpriced"][moved]
        )
    return {
        "looked_at": int(c["events"].sum()),
        "changed": int(c["events"][moved].sum()),
        "left_alone": int(c["events"][~whole].sum()),
        "cost_before": int(c["cost"][moved].sum()),
        "cost_after": int(nano[moved].sum()),
    }
