"""One shard of the drain: it takes the inbox rows of its slots, oldest first, and makes them count.

Preparation of a flush overlaps the writing of the one before it: one thread reads and computes, the other writes. A
third folds and merges. Any error of the first two ends the process: what it remembers may already count events whose
flush failed. The supervisor starts it anew, and it reads back what is committed. What ends it again and again is set
aside (:mod:`apps.usage.drain.set_aside`). What fails beside them stays beside (:mod:`apps.usage.drain.upkeep`).
"""

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from queue import Empty, Full, Queue

import psycopg
from django.conf import settings
from django.db import connection

from apps.core import clock
from apps.core.memory import give_back
from apps.core.priority import Aside
from apps.usage.drain import fold
from apps.usage.drain.announce import INTERVAL, announce
from apps.usage.drain.dedupe import DedupeIndex
from apps.usage.drain.dims import Dimensions
from apps.usage.drain.filter import stripe_at
from apps.usage.drain.flush import Flush, InboxItem, prepare
from apps.usage.drain.keeper import Keeper
from apps.usage.drain.pace import Pace
from apps.usage.drain.set_aside import FAILED_STARTS, find_failing, forget_marks, starts_in_vain
from apps.usage.drain.upkeep import LeftOut, Upkeep
from apps.usage.drain.write import write
from apps.usage.ingest.inbox import SLOTS
from apps.usage.telemetry import record_flush, record_index

__all__ = ["Drainer", "Shard", "drain_now", "slots_of"]

logger = logging.getLogger(__name__)

MAX_FLUSH_EVENTS = 40_000
MAX_FLUSH_ROWS = 2_000
# Of frames, ten times what that many events mostly have: metadata may be 16 KiB an event, and memory is bounded.
MAX_FLUSH_BYTES = 64 << 20
# Half of a flush's cost does not depend on its size: the more there is, the longer it may gather.
FLUSH_INTERVAL = 0.1
BUSY_INTERVAL = 0.2
BUSY_EVENTS = 4_000
_LOCK_CLASS = 0x6D77
# Seconds after which pages that nothing uses go back to the system: a flush of many events needs much for a moment.
_TRIM_EVERY = 10


def slots_of(shard: int, shards: int) -> list[int]:
    """The slots that belong to one of so many shards."""
    return [slot for slot in range(SLOTS) if slot % shards == shard]


class Drainer:
    """Takes, prepares and writes flushes for some slots."""

    def __init__(self, slots: Sequence[int]) -> None:
        self.slots = list(slots)
        self.dims = Dimensions()
        self.index = DedupeIndex(
            slots, filter_bytes=settings.USAGE_DEDUPE_FILTER_BYTES, cache_ids=settings.USAGE_DEDUPE_CACHE_IDS
        )
        self.in_flight: set[int] = set()

    def load(self) -> None:
        """Read back what the slots have counted in the last 8 days."""
        started = time.monotonic()
        ids = self.index.load(stripe_at(clock.now().timestamp()))
        logger.info("drain of slots %s: %d counted ids read in %.1f s", self.slots, ids, time.monotonic() - started)

    def take(self) -> list[InboxItem]:
        """The oldest rows that are not in flight, up to a flush's worth."""
        connection.ensure_connection()
        with psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(
                "SELECT id, events, octet_length(frames) FROM usage_inbox"
                " WHERE slot = ANY(%b::smallint[]) AND NOT id = ANY(%b::bigint[]) ORDER BY id LIMIT %s",
                (self.slots, list(self.in_flight), MAX_FLUSH_ROWS),
                prepare=True,
            )
            chosen: list[int] = []
            total = size = 0
            for row_id, events, length in cursor.fetchall():
                if chosen and (total + events > MAX_FLUSH_EVENTS or size + length > MAX_FLUSH_BYTES):
                    break
                chosen.append(row_id)
                total += events
                size += length
            if not chosen:
                return []
            cursor.execute(
                "SELECT id, slot, org_id, received_at, events, frames FROM usage_inbox"
                " WHERE slot = ANY(%b::smallint[]) AND id = ANY(%b::bigint[]) ORDER BY id",
                (self.slots, chosen),
                binary=True,
                prepare=True,
            )
            items = [InboxItem(*row) for row in cursor.fetchall()]
        self.in_flight.update(item.id for item in items)
        return items

    def try_first(self) -> list[list[InboxItem]]:
        """Where starts were in vain, find out on what: rows that cannot be counted are set aside.

        Returns what is to be counted group by group, since not all of it can be together. Raises where PostgreSQL ended
        on it, so that the next start goes on from there. Call it before
        :meth:`load`, while there is one thread: rows are tried in a process of their own.
        """
        vain = starts_in_vain(self.slots)
        if vain < FAILED_STARTS:
            forget_marks(self.slots)
            return []
        logger.warning("the drain of slots %s got no further in %d starts: its rows are tried", self.slots, vain)
        return find_failing(self._look, self.slots)

    def _look(self) -> list[InboxItem]:
        """What :meth:`take` would take first."""
        items = self.take()
        self.in_flight.clear()
        return items

    def write(self, flush: Flush) -> None:
        """Commit a flush and let the index know."""
        segment = write(flush, self.index.mask)
        if segment is not None and flush.new_keys is not None:
            self.index.committed(flush.new_keys, segment)
        self.in_flight.difference_update(item.id for item in flush.items)

    def step(self) -> int:
        """One flush from start to end; returns how many inbox rows it took."""
        items = self.take()
        if items:
            self.write(prepare(items, self.dims, self.index))
        return len(items)


def drain_now() -> None:
    """Count all that is in the inbox, in this process and connection; for commands and tests without a drain."""
    drainer = Drainer(range(SLOTS))
    drainer.load()
    while drainer.step():
        pass
    announce()


class Shard:
    """A process's worth of drain."""

    def __init__(self, number: int, shards: int, stop: threading.Event) -> None:
        self.number = number
        self.drainer = Drainer(slots_of(number, shards))
        self._stop = stop
        self._upkeep = Upkeep(number, shards)
        self._flushes: Queue[Flush | BaseException] = Queue(maxsize=1)
        self._busy = False
        self._pace = Pace(Aside())

    def run(self) -> None:
        """Work until told to stop; raises at any error."""
        self._pace.watch_connections()
        if not self._lock_slots():
            return
        groups = self.drainer.try_first()
        self.drainer.load()
        self._upkeep.begin()
        self._upkeep.attempt("partitions", partial(fold.keep_partitions), None)
        for group in groups:
            self._count(prepare(group, self.drainer.dims, self.drainer.index))
        tasks = [("prepare", self._prepare), ("keep", self._keep)]
        if self.number == 0:
            tasks.append(("announce", self._announce))
        threading.Thread(target=self._pace.watch, args=(self._stop,), name="drain-pace", daemon=True).start()
        for name, target in tasks:
            threading.Thread(target=self._guarded, args=(target,), name=f"drain-{name}", daemon=True).start()
        while True:
            try:
                flush = self._flushes.get(timeout=0.2)
            except Empty:
                if self._stop.is_set():
                    return
                continue
            if isinstance(flush, BaseException):
                raise flush
            self._count(flush)
            self._pace.counted()
            if self._stop.is_set():
                return

    def _count(self, flush: Flush) -> None:
        started = time.monotonic()
        self.drainer.write(flush)
        record_flush(flush, self.number, time.monotonic() - started)

    def _lock_slots(self) -> bool:
        """Own the slots, waiting for who has them; held by the writing connection, so they end with it."""
        for slot in self.drainer.slots:
            while True:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [_LOCK_CLASS, slot])
                    if cursor.fetchone()[0]:
                        break
                if self._stop.wait(0.1):
                    return False
        return True

    def _guarded(self, target: object) -> None:
        """A thread that fails hands its error to the writer, which ends the process."""
        try:
            target()  # type: ignore[operator]
        except BaseException as error:
            self._hand_over(error)
        finally:
            connection.close()

    def _hand_over(self, item: Flush | BaseException) -> None:
        while True:
            try:
                self._flushes.put(item, timeout=0.2)
                return
            except Full:
                if self._stop.is_set():
                    return

    def _prepare(self) -> None:
        due = 0.0
        while not self._stop.is_set():
            # A full flush is followed at once by the next; otherwise rows gather for a moment, since larger flushes
            # cost less an event.
            pause = due - time.monotonic()
            if pause > 0 and self._stop.wait(pause):
                return
            started = time.monotonic()
            items = self.drainer.take()
            self._pace.took(min((item.received_at for item in items), default=None))
            events = sum(item.events for item in items)
            self._busy = events > BUSY_EVENTS
            full = events > MAX_FLUSH_EVENTS * 0.8
            due = started + (0.0 if full else BUSY_INTERVAL if events > BUSY_EVENTS else FLUSH_INTERVAL)
            if items:
                self._hand_over(prepare(items, self.drainer.dims, self.drainer.index))

    def _announce(self) -> None:
        left_out: LeftOut[int] = LeftOut()
        while not self._stop.wait(INTERVAL):
            self._upkeep.attempt("announce", partial(self._tell, left_out), None)

    def _tell(self, left_out: LeftOut[int]) -> None:
        announce(left_out)
        left_out.say("summary")

    def _keep(self) -> None:
        """What is done beside the main work; merging of ids has a thread, since it works in small pieces."""
        compact = partial(self.drainer.index.compact, self._stop, self._upkeep)
        threading.Thread(target=self._guarded, args=(compact,), name="drain-compact", daemon=True).start()
        turn = 0
        keeper = Keeper(self._stop, self._upkeep)
        while not self._stop.wait(1.0):
            turn += 1
            if turn % _TRIM_EVERY == 0:
                give_back()
            self._upkeep.attempt("figures", lambda: record_index(self.number, self.drainer.index.stats), None)
            if self.number == 0:
                keeper.turn(busy=self._busy)
