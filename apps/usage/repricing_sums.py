"""Sums priced again, of times whose raw events are gone: a day in one transaction."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

import numpy as np
from django.db import transaction

from apps.core import clock
from apps.usage.chunks import fetch, lock_costs, micros_of, read_chunks
from apps.usage.drain.fold import FITS
from apps.usage.repricing_run import Ints, Run, What, correct_sums, prices_of, update_run

__all__ = ["history_days", "reprice_day", "whos_kept"]

_CHUNKS_AT_ONCE = 20
_MINUTE_US = 60_000_000
_BEGINNING = date(2000, 1, 1)

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
) AS rows WHERE what = ANY(%(whats)s) GROUP BY bucket, who, what HAVING {FITS}
"""  # noqa: S608


def history_days(run: Run, org: int, retention: int) -> Iterator[date]:
    """The days, in UTC, of the run's period of which no raw events are kept, from where it has come to."""
    edge = clock.now().date() - timedelta(days=retention)
    if run.end_at is not None:
        edge = min(edge, (run.end_at - timedelta(microseconds=1)).date() + timedelta(days=1))
    first = fetch("SELECT min(bucket) FROM usage_rollup_quarter WHERE org = %s", (org,))[0][0]
    oldest = fetch("SELECT min(minute) FROM usage_delta WHERE org = %s", (org,))[0][0]
    begins = [moment.date() for moment in (first, oldest) if moment is not None]
    if not begins:
        return
    day = max(min(begins), run.start_at.date() if run.start_at else _BEGINNING)
    if run.at_day is not None:
        day = max(day, run.at_day + timedelta(days=1))
    while day < edge:
        yield day
        day += timedelta(days=1)


def whos_kept(org: int, day: date) -> frozenset[int]:
    """Whose raw events of a day, in UTC, are still kept."""
    start = datetime.combine(day, datetime.min.time(), tzinfo=clock.now().tzinfo)
    end, after, found = start + timedelta(days=1), 0, set[int]()
    while chunks := read_chunks(org, start=start, end=end, after_id=after, limit=_CHUNKS_AT_ONCE):
        for chunk in chunks:
            ts = chunk.columns["ts"]
            found |= set(chunk.columns["who"][(ts >= micros_of(start)) & (ts < micros_of(end))].tolist())
        after = chunks[-1].id
    return frozenset(found)


def reprice_day(
    run: Run, org: int, org_id: UUID, whats: dict[int, What], day: date, *, kept: frozenset[int] = frozenset()
) -> None:
    """Price the quarter-hours of a day by their sums, rounded once for each row; of those in ``kept`` by their events.

    A row in which priced, unpriced and reported costs are mixed cannot be told apart any more and stays as it is.
    """
    start = datetime.combine(day, datetime.min.time(), tzinfo=clock.now().tzinfo)
    low = max(start, run.start_at) if run.start_at else start
    high = min(start + timedelta(days=1), run.end_at) if run.end_at else start + timedelta(days=1)
    with transaction.atomic():
        # The difference is from what is stored.
        lock_costs(org)
        rows = fetch(_HISTORY, {"org": org, "start": low, "end": high, "whats": list(whats)})
        rows = [row for row in rows if row[1] not in kept] if kept else rows
        totals = {"looked_at": 0, "changed": 0, "left_alone": 0, "cost_before": 0, "cost_after": 0}
        if rows:
            buckets, *numbers = zip(*rows, strict=True)
            names = ("who", "what", "events", "input", "output", "cache_read", "write_5m", "write_1h", "web", "cost",
                     "reported", "unpriced")  # fmt: skip
            c = {name: np.array(column, dtype=np.int64) for name, column in zip(names, numbers, strict=True)}
            ts = np.array([micros_of(bucket) for bucket in buckets], dtype=np.int64)
            totals = _price_sums(run, org, org_id, c, ts, whats)
        run.at_day = day
        update_run(run, at_org=org, at_day=day, add=totals)


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
