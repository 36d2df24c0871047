"""The drain steps aside as long as what it does is done in time.

While a flush is prepared and written, both cores of a small machine are at work; who waits for an acknowledgement then
waits half as long again. So the drain and its connections run in what others leave over. What they leave over may be
little: what waits for too long brings it forward, at once and for a while.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.backends.signals import connection_created

from apps.core.priority import Aside

__all__ = ["LATE", "TOO_LATE", "Pace"]

# Seconds that something may wait before the drain comes back to its usual place, before it runs as others do, and below
# which it is in time.
LATE, TOO_LATE, IN_TIME = 0.7, 1.5, 0.5
# So long it has been in time before it steps aside: in the beginning, and after it had to come forward.
FIRST_AFTER, AGAIN_AFTER = 3.0, 30.0
LOOK_SECONDS = 0.25


class Pace:
    """What is under way in a shard, since when, and its place in the queue for the processor."""

    def __init__(self, aside: Aside, clock: Callable[[], float] = time.time) -> None:
        self._aside, self._clock = aside, clock
        self._under_way: deque[float] = deque()
        self._looked_at = self._late_at = clock()
        self._calm = FIRST_AFTER

    def took(self, oldest: datetime | None) -> None:
        """The inbox was looked at; ``oldest`` is when the oldest of what was taken was received."""
        self._looked_at = self._clock()
        if oldest is not None:
            self._under_way.append(oldest.timestamp())

    def counted(self) -> None:
        """The oldest of what was taken is counted."""
        self._under_way.popleft()

    def lag(self) -> float:
        """Seconds since the receipt of the oldest that is under way, or since the inbox was looked at."""
        try:
            oldest = min(self._under_way[0], self._looked_at)
        except IndexError:
            oldest = self._looked_at
        return max(0.0, self._clock() - oldest)

    def look(self) -> None:
        """Come back, or forward, where something is late, step aside where all has been in time for a while."""
        lag, moment = self.lag(), self._clock()
        if lag > LATE:
            self._calm = AGAIN_AFTER
            self._aside.come_back()
        if lag > TOO_LATE:
            self._aside.come_forward()
        if lag > IN_TIME:
            self._late_at = moment
        elif moment - self._late_at >= self._calm:
            self._aside.step_aside()

    def watch(self, stop: threading.Event) -> None:
        """Look until told to stop, four times a second."""
        self._aside.spare_this_thread()
        while not stop.wait(LOOK_SECONDS):
            self.look()

    def watch_connections(self) -> None:
        """Have the connections of this process keep its pace: those to a server that runs beside it."""
        # The signal holds its receivers weakly.
        self._hear = lambda connection, **_: self._connected(connection)
        connection_created.connect(self._hear)

    def _connected(self, connection: Any) -> None:
        if str(settings.DATABASES["default"].get("HOST") or "").startswith("/"):
            self._aside.add_helper(connection.connection.info.backend_pid, "postgres")
