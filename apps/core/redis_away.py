"""Redis away, or there and silent: one question in vain, and this process leaves it alone for a second.

Nothing needs Redis: limits let everything pass, what would be remembered is computed, messages hurry nobody, tasks are
sent later. What would hurt is waiting for it, each request anew. So whoever asks it says here how that went; after a
second one thread asks again, for all.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
import structlog

__all__ = ["BROKER", "REDIS", "REST_SECONDS", "Outage", "RedisAway"]

log = structlog.get_logger(__name__)

REST_SECONDS: Final = 1.0
# While it lasts it is said so often.
_SAID_EVERY: Final = 30.0


class RedisAway(redis.ConnectionError):
    """Redis was asked in vain less than a second ago, and not again."""


class Outage:
    """Whether one use of Redis is in vain at present, for all threads of this process."""

    def __init__(self, name: str, effect: str) -> None:
        self._name, self._effect = name, effect
        self._lock = threading.Lock()
        # Since when it is away, until when it is left alone, when that was last said; of time.monotonic().
        self._since: float | None = None
        self._rest_until = self._said_at = 0.0

    def may_ask(self) -> bool:
        """Whether it may be asked now. Where it is away that is so for one thread a second; the others do without."""
        if self._since is None:
            return True
        with self._lock:
            moment = time.monotonic()
            if self._since is not None and moment < self._rest_until:
                return False
            self._rest_until = moment + REST_SECONDS
            return True

    def failed(self, error: BaseException) -> None:
        """It did not answer, or not in time."""
        with self._lock:
            moment = time.monotonic()
            self._rest_until = moment + REST_SECONDS
            if self._since is None:
                self._since = self._said_at = moment
                log.warning(f"{self._name}.away", reason=str(error), effect=self._effect)
            elif moment - self._said_at >= _SAID_EVERY:
                self._said_at = moment
                log.warning(f"{self._name}.still_away", reason=str(error), seconds=round(moment - self._since))

    def answered(self) -> None:
        """It answered."""
        if self._since is None:
            return
        with self._lock:
            if self._since is not None:
                log.warning(f"{self._name}.back", seconds=round(time.monotonic() - self._since, 1))
                self._since = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around a question: :class:`RedisAway` instead where it may not be asked; how it went is noted."""
        if not self.may_ask():
            raise RedisAway("Redis did not answer a moment ago")
        try:
            yield
        except (redis.RedisError, OSError) as error:
            self.failed(error)
            raise
        self.answered()

    def forget(self) -> None:
        """As if it had always answered; for tests."""
        self._since = None


# What answers within a fraction of a second or is done without: limits, the cache, messages to sockets.
REDIS: Final = Outage("redis", "limits let everything pass, nothing is remembered, sockets look by themselves")
# What is sent to workers, by connections and a patience of its own.
BROKER: Final = Outage("broker", "tasks are not sent; what must not be forgotten is sent by a job later")
