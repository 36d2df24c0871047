"""What the drain does beside its main work, and how often: merging chunks, tightening and folding deltas.

Each of these may take its share of the time and no more: one that took a second is not due again for twenty, up to a
minute. So what is a matter of milliseconds happens at once, and what is not makes way for the events.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event

from apps.core import clock
from apps.usage.drain import fold
from apps.usage.drain.merge import merge_chunks, newest_chunk

__all__ = ["Keeper"]

_SHARE = 20
_LONGEST = 60.0
_MERGE_EVERY = 10.0
_MINUTE = timedelta(minutes=1)
# Deltas of quarter-hours long over come with late events; they are looked for this often.
_LATE_EVERY = 300.0
# After a start, minutes that nobody may have tightened yet.
_BACK = timedelta(minutes=15)


class Keeper:
    """The work of one process, turn by turn."""

    def __init__(self, stop: Event) -> None:
        self._stop = stop
        self._due: dict[str, float] = {}
        self._settled = 0
        self._tightened = _minute(clock.now() - fold.GRACE - _BACK)
        self._folded: datetime | None = None
        self._late_at = 0.0

    def turn(self, *, busy: bool) -> None:
        """Do what is due; while events come in ``busy`` numbers only what has waited for a minute."""
        self._at_its_pace("merge", self._merge, busy, least=_MERGE_EVERY)
        self._at_its_pace("rollups", self._rollups, busy)
        self._at_its_pace("sessions", self._sessions, busy)

    def _at_its_pace(self, name: str, work: Callable[[], None], busy: bool, *, least: float = 1.0) -> None:
        started = time.monotonic()
        due = self._due.setdefault(name, started)
        if self._stop.is_set() or started < due + (_LONGEST if busy else 0.0):
            return
        work()
        ended = time.monotonic()
        self._due[name] = ended + min(_LONGEST, max(least, _SHARE * (ended - started)))

    def _merge(self) -> None:
        merge_chunks(settled=self._settled)
        self._settled = newest_chunk()

    def _rollups(self) -> None:
        """Tighten the minutes that are over, once each, and fold the quarter-hours that are over."""
        closed = _minute(clock.now() - fold.GRACE)
        while self._tightened < closed and not self._stop.is_set():
            fold.tighten_deltas(self._tightened, self._tightened + _MINUTE)
            self._tightened += _MINUTE
        quarter, moment = fold.quarter_of(closed), time.monotonic()
        if quarter != self._folded or moment - self._late_at >= _LATE_EVERY:
            fold.fold_rollups(stop=self._stop)
            self._folded, self._late_at = quarter, moment

    def _sessions(self) -> None:
        while fold.fold_sessions() >= fold.BATCH and not self._stop.is_set():
            pass


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
