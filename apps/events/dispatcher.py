"""The process behind ``manage.py bus``: relays the outbox, and has each subscription's queue worked on.

The main thread listens, relays and hands out work; a few threads deliver, so that a slow handler holds up its own
subscription and no other. Several dispatchers may run: the relay and each subscription are worked on by one at a time.

The first event after a pause is taken up at once. While more come, they are let come together for a moment
(:data:`~apps.events.transports.base.LOOKS_AGAIN`), so that a busy bus works on many at a time.
"""

import contextlib
import logging
import os
import queue
import threading
import time

from django.db import Error as DatabaseError
from django.db import connection

from apps.events.chores import chores, run_chore
from apps.events.delivery import drain
from apps.events.queues import sync_subscriptions, with_work
from apps.events.relay import BATCH, relay
from apps.events.services import maintain
from apps.events.transports import get_transport
from apps.events.transports.base import LOOKS_AGAIN

__all__ = ["Dispatcher"]

logger = logging.getLogger(__name__)

POLL = 1.0
MAINTAIN_EVERY = 3600.0
_AGAIN_AFTER_ERROR = 1.0


class Dispatcher:
    """Runs until :meth:`stop`. ``threads`` bounds how many subscriptions are worked on at once."""

    def __init__(self, *, threads: int = 4, poll: float = POLL) -> None:
        self._poll = poll
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        self._work: queue.Queue[str | None] = queue.Queue()
        self._busy: set[str] = set()
        self._busy_lock = threading.Lock()
        self._threads = [threading.Thread(target=self._deliver, name=f"bus-{n}", daemon=True) for n in range(threads)]
        self._chores = [
            threading.Thread(target=run_chore, args=(name, self._stopping), name=f"chore-{name}", daemon=True)
            for name in chores()
        ]

    def stop(self) -> None:
        """Ask it to end after the events in hand; safe in a signal handler."""
        self._stopping.set()
        self._wake()

    def run(self) -> None:
        """Work until stopped. A database that goes away is waited for."""
        listener = get_transport().listen()
        for thread in (*self._threads, *self._chores):
            thread.start()
        started, maintained, told = False, 0.0, False
        try:
            while not self._stopping.is_set():
                wait, found = _AGAIN_AFTER_ERROR, False
                try:
                    if not started:
                        sync_subscriptions()
                        started = True
                    if time.monotonic() - maintained > MAINTAIN_EVERY or not maintained:
                        maintain()
                        maintained = time.monotonic()
                    wait, found = self._turn()
                except DatabaseError as error:
                    logger.warning("the bus waits for the database: %s", error)
                    connection.close()
                if wait and (found or told):
                    self._stopping.wait(LOOKS_AGAIN)
                    told = False
                elif wait:
                    told = listener.wait(wait, self._wake_read)
                self._clear_wake()
        finally:
            self._end()
            listener.close()

    def _turn(self) -> tuple[float, bool]:
        """Relay a batch and hand out work; returns how long to wait for news, 0 where more is to relay, and whether
        there was anything.
        """
        relayed = relay()
        names, next_retry = with_work()
        for name in names:
            with self._busy_lock:
                if name in self._busy:
                    continue
                self._busy.add(name)
            self._work.put(name)
        if relayed == BATCH:
            return 0.0, True
        return self._poll if next_retry is None else min(self._poll, next_retry + 0.01), relayed > 0

    def _deliver(self) -> None:
        try:
            while (name := self._work.get()) is not None:
                handled = 0
                try:
                    if not self._stopping.is_set():
                        handled = drain(name, should_stop=self._stopping.is_set)
                except Exception:
                    logger.exception("delivery to %s broke off; it goes on at the next turn", name)
                    connection.close()
                finally:
                    with self._busy_lock:
                        self._busy.discard(name)
                    if handled:
                        # Something may have come while it was busy and was not handed out for that.
                        self._wake()
        finally:
            connection.close()

    def _end(self) -> None:
        for _ in self._threads:
            self._work.put(None)
        for thread in (*self._threads, *self._chores):
            thread.join()
        connection.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")

    def _clear_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
