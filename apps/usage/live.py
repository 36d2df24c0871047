"""The live tail: each new event of an organisation on a socket, as soon as it is counted.

A :class:`LiveTail` knows where it is in the order of counting, so that it neither misses nor repeats an event however
often or seldom it is asked to look. It shows at most ``USAGE_LIVE_EVENTS_A_SECOND``; what comes faster is counted and
said. While it is paused it goes on reading and holds the newest events back.
"""

import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from django.conf import settings

from apps.core import clock
from apps.core.pagination import decode_cursor, encode_cursor
from apps.core.tenancy import org_scope
from apps.usage.selectors.tail import tail_end, tail_read

__all__ = ["HELD", "LiveTail", "News", "org_group"]

# The newest events that a paused socket holds back.
HELD: Final = 500
_ORDER: Final = ("counted",)


def org_group(org_id: UUID) -> str:
    """The channel group of everybody who watches an organisation; it hears ``usage.moved`` when events were counted."""
    return f"live.org.{org_id.hex}"


@dataclass(frozen=True, slots=True)
class News:
    """What a look found: ``data`` are events as JSON, oldest first, ``dropped`` how many more there were.

    ``gap`` says that an unknown number of events was merged before they could be read. ``more``: look again at once.
    """

    data: list[dict[str, Any]]
    dropped: int = 0
    gap: bool = False
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.data or self.dropped or self.gap)


class LiveTail:
    """One listener's place in an organisation's events; used by one thread at a time."""

    def __init__(self, org_id: UUID, filters: Mapping[str, Sequence[str]], cursor: str | None = None) -> None:
        """``cursor`` is one that an earlier tail gave; :class:`ValidationFailed` for any other text."""
        self.org_id, self.filters = org_id, filters
        self.place = int(decode_cursor(cursor, order=_ORDER)[0] or 0) if cursor else tail_end(org_id)
        # Where it was paused, while it is: up to there everything was shown.
        self._paused_at: int | None = None
        self._held: deque[dict[str, Any]] = deque(maxlen=HELD)
        self._held_dropped = 0
        self._held_gap = False
        self._allowance = float(settings.USAGE_LIVE_EVENTS_A_SECOND)
        self._allowed_at = time.monotonic()

    @property
    def cursor(self) -> str:
        """Where to go on later, with a new tail: behind everything that was shown."""
        return encode_cursor([self.place if self._paused_at is None else self._paused_at], order=_ORDER)

    @property
    def is_paused(self) -> bool:
        return self._paused_at is not None

    def look(self) -> News:
        """What came since the last look; nothing while it is paused."""
        most = HELD if self.is_paused else self._room()
        with org_scope(self.org_id):
            found = tail_read(org_id=self.org_id, filters=self.filters, place=self.place, most=most)
        self.place = found.place
        if self.is_paused:
            self._hold(found.bodies, found.left_out, found.is_gap)
            return News([], more=found.is_more)
        self._allowance -= len(found.bodies)
        return News(found.bodies, found.left_out, found.is_gap, found.is_more)

    def narrow(self, filters: Mapping[str, Sequence[str]], projects: Collection[str] | None) -> None:
        """From now on show what these filters admit, and of what was held back only what is of these projects."""
        self.filters = filters
        if projects is not None:
            self._held = deque((body for body in self._held if body["project_id"] in projects), maxlen=HELD)

    def pause(self) -> None:
        """Show nothing until :meth:`resume`."""
        if self._paused_at is None:
            self._paused_at = self.place

    def resume(self) -> News:
        """What was held back: the newest :data:`HELD` events, and how many more there were."""
        news = News(list(self._held), self._held_dropped, self._held_gap)
        self._held.clear()
        self._held_dropped, self._held_gap, self._paused_at = 0, False, None
        return news

    def _hold(self, bodies: list[dict[str, Any]], left_out: int, gap: bool) -> None:
        self._held_dropped += left_out + max(0, len(self._held) + len(bodies) - HELD)
        self._held.extend(bodies)
        self._held_gap |= gap

    def _room(self) -> int:
        """How many events may be shown now: a bucket that refills by the second and holds one second's worth."""
        rate, moment = float(settings.USAGE_LIVE_EVENTS_A_SECOND), time.monotonic()
        self._allowance = min(rate, self._allowance + (moment - self._allowed_at) * rate)
        self._allowed_at = moment
        return int(self._allowance)


def stamp() -> str:
    """Now, as the API writes moments."""
    return clock.now().isoformat().replace("+00:00", "Z")
