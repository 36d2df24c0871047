"""What a shard of the drain writes about itself, for whoever looks at the engine from another process.

Its row in ``usage_shard`` is at most about a second old; the counts of the day by organisation, and by model where
there was no price, are at most ten seconds old and lose as much when the process is killed. They are for people who
look after the engine: what is billed and shown to customers are the rollups.
"""

import threading
import time
from collections import deque
from datetime import date, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection

from apps.core import clock

if TYPE_CHECKING:
    from apps.usage.drain.flush import Flush

__all__ = ["RATE_SECONDS", "Heartbeat", "heartbeat_of"]

RATE_SECONDS = 10.0
_BEAT_SECONDS = 1.0
_TALLY_SECONDS = 10.0
_INDEX = ("ids", "segments", "filter_bytes", "false_positives", "filter_full")

# Not worth a wait for the disk: the next beat says it again.
_LAZY = "set_config('synchronous_commit', 'off', true) = 'off'"
_FLUSHED = f"""
UPDATE usage_shard SET seen_at = %(now)s, flushed_at = %(flushed_at)s, events_per_second = %(rate)s
WHERE shard = %(shard)s AND {_LAZY}
"""  # noqa: S608
_ALIVE = f"""
INSERT INTO usage_shard (shard, slots, started_at, seen_at, flushed_at, events_per_second, ids, segments, filter_bytes,
    false_positives, filter_full)
SELECT %(shard)s, %(slots)s, %(started_at)s, %(now)s, %(flushed_at)s, %(rate)s, %(ids)s, %(segments)s, %(filter_bytes)s,
    %(false_positives)s, %(filter_full)s::integer > 0
WHERE {_LAZY}
ON CONFLICT (shard) DO UPDATE SET slots = EXCLUDED.slots, started_at = EXCLUDED.started_at, seen_at = EXCLUDED.seen_at,
    flushed_at = coalesce(EXCLUDED.flushed_at, usage_shard.flushed_at),
    events_per_second = EXCLUDED.events_per_second, ids = EXCLUDED.ids, segments = EXCLUDED.segments,
    filter_bytes = EXCLUDED.filter_bytes, false_positives = EXCLUDED.false_positives,
    filter_full = EXCLUDED.filter_full
"""
# Shards of another division of the slots are no more.
_SUCCEED = "DELETE FROM usage_shard WHERE shard <> %(shard)s AND slots & %(slots)s <> 0"
_TALLY = f"""
INSERT INTO usage_day_tally AS t (day, org_id, model, events, calls, unpriced)
SELECT * FROM unnest(%s::date[], %s::uuid[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[]) WHERE {_LAZY}
ON CONFLICT (day, org_id, model) DO UPDATE SET events = t.events + EXCLUDED.events, calls = t.calls + EXCLUDED.calls,
    unpriced = t.unpriced + EXCLUDED.unpriced
"""  # noqa: S608


class Heartbeat:
    """One shard's. The writing thread tells of flushes, the keeping one that the shard lives; either writes."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self._lock = threading.Lock()
        self._started_at = clock.now()
        self._flushed_at: datetime | None = None
        self._recent: deque[tuple[float, int]] = deque()
        self._beaten = 0.0
        self._tallied = time.monotonic()
        # (day, organisation, model) → events, calls, unpriced; the model is "" but where there was no price.
        self._tally: dict[tuple[date, UUID, str], list[int]] = {}

    def flushed(self, flush: "Flush") -> None:
        """A flush is committed."""
        moment, beat = clock.now(), time.monotonic()
        with self._lock:
            self._flushed_at = moment
            self._recent.append((beat, flush.events))
            self._add(flush, moment.date())
            due = beat - self._beaten >= _BEAT_SECONDS
            if due:
                self._beaten = beat
            rate = self._rate(beat)
        if due:
            with connection.cursor() as cursor:
                cursor.execute(_FLUSHED, {"now": moment, "flushed_at": moment, "rate": rate, "shard": self.shard})
            self._write_tally(beat)

    def alive(self, slots: int, stats: dict[str, int]) -> None:
        """The shard lives, and remembers so much; ``slots`` is the mask of what it works on."""
        beat = time.monotonic()
        with self._lock:
            flushed_at, rate = self._flushed_at, self._rate(beat)
        values = {
            "shard": self.shard, "slots": slots, "started_at": self._started_at, "now": clock.now(),
            "flushed_at": flushed_at, "rate": rate,
            **{name: stats.get(name, 0) for name in _INDEX},
        }  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(_SUCCEED, values)
            cursor.execute(_ALIVE, values)
        self._write_tally(beat)

    def _add(self, flush: "Flush", day: date) -> None:
        for summary in flush.summaries:
            counts = self._tally.setdefault((day, summary.org_id, ""), [0, 0, 0])
            counts[0] += summary.data["events"]
            counts[1] += summary.data["calls"]
            counts[2] += summary.data["unpriced"]
        for (org_id, model), events in flush.unpriced_models.items():
            self._tally.setdefault((day, org_id, model), [0, 0, 0])[2] += events

    def _rate(self, beat: float) -> float:
        """Events a second of the last ten seconds."""
        while self._recent and beat - self._recent[0][0] > RATE_SECONDS:
            self._recent.popleft()
        return sum(events for _, events in self._recent) / RATE_SECONDS

    def _write_tally(self, beat: float) -> None:
        with self._lock:
            if beat - self._tallied < _TALLY_SECONDS or not self._tally:
                return
            self._tallied = beat
            tally, self._tally = self._tally, {}
        # In one order, since the writing and the keeping thread may both be at it.
        rows = [(*key, *counts) for key, counts in sorted(tally.items())]
        with connection.cursor() as cursor:
            cursor.execute(_TALLY, [list(column) for column in zip(*rows, strict=True)])


_heartbeats: dict[int, Heartbeat] = {}


def heartbeat_of(shard: int) -> Heartbeat:
    """The heartbeat of a shard that runs in this process."""
    found = _heartbeats.get(shard)
    if found is None:
        found = _heartbeats[shard] = Heartbeat(shard)
    return found
