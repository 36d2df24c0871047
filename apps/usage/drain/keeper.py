"""What the drain does beside its main work, and how often: merging chunks, tightening and folding, partitions.

Each of these works for five seconds at most, and may take its share of the time: one that took a second and came to an
end is not due again for twenty, and while events come in numbers it waits a minute longer. So what is a matter of
milliseconds happens at once, and what is not makes way for the events. One that did not come to an end goes on with the
next turn, whatever comes in: what is put off for ever only grows.

All of it is done in small pieces, each a transaction of its own. While events come in numbers each piece is followed by
a rest of three times what it took, or as long as it took where the work is behind. Acknowledgements share the cores and
the disk with it: a second of merging in one go is seen in their slowest, twenty times 50 milliseconds are not.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from threading import Event

from apps.core import clock
from apps.usage.chunks import newest_chunk
from apps.usage.drain import fold
from apps.usage.drain.dedupe import drop_segments
from apps.usage.drain.filter import stripe_at
from apps.usage.drain.merge import merge_chunks
from apps.usage.drain.retention import make_partitions_ahead
from apps.usage.drain.upkeep import LeftOut, PartlyDone, Upkeep

__all__ = ["Keeper"]

# Long enough that finding out what waits is the smaller part of it.
_SLICE = 5.0
_SHARE = 20
_LONGEST = 60.0
# While events come in numbers: how much longer than a piece of the work the rest after it is.
_REST, _REST_BEHIND = 3.0, 1.0
_MERGE_EVERY = 10.0
# Groups without a new chunk are looked at so seldom: a chunk may have been locked, or become visible late.
_MERGE_ALL_EVERY = 600.0
_PARTITIONS_EVERY = 3600.0
_MINUTE = timedelta(minutes=1)
# A minute is tightened when it is over, and again for what was counted later.
_AGAIN = (timedelta(), _MINUTE, timedelta(minutes=5))
# While events come in numbers, sessions are added to this seldom, but for those of organisations with many deltas: each
# is written anew whether one delta is added to it or ten.
_SESSIONS_EVERY = 180.0
# And for so long after it: where they come in numbers again and again, each lull would be a time to write them all.
_LULL = 60.0
# Deltas of quarter-hours long over come with late events; they are looked for this often.
_LATE_EVERY = 300.0
# After a start, minutes that nobody may have tightened yet.
_BACK = timedelta(minutes=15)


class Keeper:
    """The work of one process, turn by turn."""

    def __init__(self, stop: Event, upkeep: Upkeep) -> None:
        self._stop = stop
        self._upkeep = upkeep
        self._due: dict[str, float] = {}
        self._behind: set[str] = set()
        self._end = 0.0
        self._rest = 0.0
        self._piece_began = 0.0
        self._settled = self._merged = 0
        self._merge_all_at = 0.0
        # On what each work fails: chunks, and organisations.
        self._unreadable: LeftOut[int] = LeftOut()
        self._loose: LeftOut[int] = LeftOut()
        self._unfolded: LeftOut[int] = LeftOut()
        self._apart: LeftOut[int] = LeftOut()
        self._tightened = _minute(clock.now() - fold.GRACE - _BACK)
        self._folded: datetime | None = None
        self._late_at = self._sessions_at = 0.0
        self._busy_at = -_LULL

    def turn(self, *, busy: bool) -> None:
        """Do what is due; ``busy`` says that events come in numbers. What fails does not keep the others from it."""
        if busy:
            self._busy_at = time.monotonic()
        for name, work, least in (
            ("merge", self._merge, _MERGE_EVERY),
            ("tighten", self._tighten, 1.0),
            ("fold", self._fold, 1.0),
            ("fold_sessions", self._sessions, 1.0),
            ("partitions", self._partitions, _PARTITIONS_EVERY),
        ):
            self._at_its_pace(name, work, busy, least=least)

    def _at_its_pace(self, name: str, work: Callable[[], bool], busy: bool, *, least: float = 1.0) -> None:
        """Do a piece of ``work``, which says whether it came to an end, if it is due."""
        started = time.monotonic()
        due = self._due.setdefault(name, started)
        waits = _LONGEST if busy and name not in self._behind else 0.0
        if self._stop.is_set() or started < due + waits:
            return
        self._upkeep.attempt(name, partial(self._timed, name, work, busy, least), None)

    def _timed(self, name: str, work: Callable[[], bool], busy: bool, least: float) -> None:
        started = time.monotonic()
        self._end = started + _SLICE
        self._piece_began = started
        self._rest = 0.0 if not busy else _REST_BEHIND if name in self._behind else _REST
        # What fails has a pause of its own.
        self._due[name] = 0.0
        try:
            done = work()
        except PartlyDone:
            self._goes_on(name, started, least, done=True)
            raise
        self._goes_on(name, started, least, done=done)

    def _goes_on(self, name: str, started: float, least: float, *, done: bool) -> None:
        ended = time.monotonic()
        (self._behind.discard if done else self._behind.add)(name)
        self._due[name] = ended + (max(least, min(_LONGEST, _SHARE * (ended - started))) if done else 1.0)

    def _is_over(self) -> bool:
        """Whether the work of this turn has had its time."""
        return self._stop.is_set() or time.monotonic() >= self._end

    def _pause(self) -> bool:
        """Between two pieces of the work: rest, and say whether it has had its time."""
        moment = time.monotonic()
        if self._rest and moment < self._end:
            self._stop.wait(min(self._rest * (moment - self._piece_began), self._end - moment))
        self._piece_began = time.monotonic()
        return self._is_over()

    def _merge(self) -> bool:
        moment = time.monotonic()
        every = moment >= self._merge_all_at
        after = 0 if every else self._merged
        while merge_chunks(settled=self._settled, after=after, stop=self._pause, left_out=self._unreadable):
            if self._is_over():
                return False
        if every:
            self._merge_all_at = moment + _MERGE_ALL_EVERY
        self._merged, self._settled = self._settled, newest_chunk()
        self._unreadable.say("chunk")
        return True

    def _tighten(self) -> bool:
        """Tighten the minutes that are over."""
        closed = _minute(clock.now() - fold.GRACE)
        while self._tightened < closed:
            for ago in _AGAIN:
                minute = self._tightened - ago
                fold.tighten_deltas(minute, minute + _MINUTE, stop=self._pause, left_out=self._loose)
                if self._is_over():
                    # The whole minute again next time: what is tightened costs little then.
                    return False
            self._tightened += _MINUTE
        self._loose.say("organisation")
        return True

    def _fold(self) -> bool:
        """Fold the quarter-hours that are over, once their minutes are tightened."""
        quarter, moment = fold.quarter_of(_minute(clock.now() - fold.GRACE)), time.monotonic()
        if "tighten" in self._behind:
            return True
        if quarter != self._folded or moment - self._late_at >= _LATE_EVERY or self._unfolded.is_due():
            fold.fold_rollups(stop=self._pause, left_out=self._unfolded)
            if self._is_over():
                return False
            self._folded, self._late_at = quarter, moment
        self._unfolded.say("organisation")
        return True

    def _sessions(self) -> bool:
        moment = time.monotonic()
        every = moment >= min(self._sessions_at, self._busy_at + _LULL)
        least = 0 if every else fold.FEW_SESSIONS
        fold.fold_sessions(least=least, stop=self._pause, left_out=self._apart)
        if self._is_over():
            return False
        if every:
            self._sessions_at = moment + _SESSIONS_EVERY
        self._apart.say("organisation")
        return True

    def _partitions(self) -> bool:
        """The scheduler does the same by the hour; the drain must not depend on it."""
        fold.keep_partitions()
        make_partitions_ahead()
        drop_segments(stripe_at(clock.now().timestamp()))
        return True


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
