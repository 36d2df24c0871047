"""Work that nobody waits for, done by a thread of this process.

A request that finds something it remembers due for another look takes what is there, as long as that is young enough,
and has it looked at meanwhile: the look costs that request nothing. How old is too old remains its own decision: then
it looks itself.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Hashable
from heapq import heappop, heappush
from itertools import count
from queue import Empty, SimpleQueue

from django.db import DatabaseError, InterfaceError, connection, connections

__all__ = ["meanwhile", "settled"]

logger = logging.getLogger(__name__)

# The thread ends, and its connection with it, after so many seconds without work.
IDLE_SECONDS = 10.0


class _Worker:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        # When (monotonic), a number to tell apart what is due at once, the key, the work; None for an end.
        self._queue: SimpleQueue[tuple[float, int, Hashable, Callable[[], object]] | None] = SimpleQueue()
        self._numbers = count()
        self._due: set[Hashable] = set()
        self._thread: threading.Thread | None = None

    def add(self, key: Hashable, work: Callable[[], object], after: float) -> None:
        with self._lock:
            if key in self._due:
                return
            self._due.add(key)
            self._queue.put((time.monotonic() + after, next(self._numbers), key, work))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="meanwhile", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        with self._lock:
            thread = self._thread
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _run(self) -> None:
        later: list[tuple[float, int, Hashable, Callable[[], object]]] = []
        try:
            while True:
                try:
                    found = self._queue.get(timeout=max(0.0, later[0][0] - time.monotonic()) if later else IDLE_SECONDS)
                except Empty:
                    if later:
                        self._do(*heappop(later)[2:])
                    elif self._is_over():
                        return
                    continue
                if found is not None:
                    heappush(later, found)
                    continue
                while later:
                    self._do(*heappop(later)[2:])
                if self._is_over():
                    return
                self._queue.put(None)
        finally:
            connections.close_all()

    def _is_over(self) -> bool:
        """Whether nothing came while the thread made up its mind to end."""
        with self._lock:
            if self._due:
                return False
            self._thread = None
            return True

    def _do(self, key: Hashable, work: Callable[[], object]) -> None:
        # What becomes due again while this is done is done again.
        with self._lock:
            self._due.discard(key)
        try:
            work()
        except (DatabaseError, InterfaceError) as error:
            # Whoever cannot do without it looks itself, and says so.
            logger.info("%s could not be looked at: %s", key, error)
            connection.close()
        except Exception:
            logger.exception("%s could not be looked at", key)


_worker = _Worker()


def meanwhile(key: Hashable, work: Callable[[], object], *, after: float = 0.0) -> None:
    """Have ``work`` done soon, outside of any transaction and context; once where the same ``key`` waits already.

    ``after``: so many seconds from now at the earliest. Its errors are logged. Inside a transaction nothing is done,
    since the thread would not see what it wrote.
    """
    if not connection.in_atomic_block:
        _worker.add(key, work, after)


def settled() -> None:
    """Return when all that was asked for is done, and the thread and its connection are gone."""
    _worker.stop()


def _forked() -> None:
    global _worker
    _worker = _Worker()


os.register_at_fork(after_in_child=_forked)
