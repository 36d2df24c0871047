"""The inbox: durable, bounded, and committed before anything is acknowledged."""

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from apps.core.meanwhile import meanwhile
from apps.usage.errors import InboxFull
from apps.usage.ingest.statement import INSERT_ROWS, Row, insert_rows

__all__ = ["SLOTS", "InboxRow", "gauge", "insert", "insert_again", "sent_row", "slot_of"]

# Organisations are spread over this many slots for ever; the drain's shards share the slots out among them.
SLOTS = 8


def slot_of(org_id: UUID) -> int:
    """The slot of an organisation. Version 7 ids are random at their end, so the end is what spreads them."""
    value = org_id.int
    return (value ^ (value >> 17) ^ (value >> 41)) % SLOTS


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One row to be committed: the frames of one organisation."""

    org_id: UUID
    received_at: datetime
    events: int
    frames: bytes


def sent_row(row: InboxRow) -> Row:
    """A row as the statement takes it."""
    return slot_of(row.org_id), row.org_id, row.received_at, row.events, row.frames


def insert(rows: list[InboxRow], *, meanwhile: Callable[[], object] | None = None) -> None:
    """Commit ``rows`` together. When it returns outside a transaction, they survive a crash of the server.

    ``meanwhile`` may be called while the server works.
    """
    connection.ensure_connection()
    sent = [sent_row(row) for row in rows]
    if not connection.in_atomic_block:
        with connection.wrap_database_errors:
            insert_rows(connection.connection, sent, meanwhile=meanwhile)
        return
    # Django's cursors write parameters into the SQL text; frames go as they are.
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(INSERT_ROWS, [list(column) for column in zip(*sent, strict=True)], prepare=True)
        if cursor.rowcount != len(rows):
            raise RuntimeError("the inbox took fewer rows than it was given")


def insert_again(rows: list[InboxRow], *, meanwhile: Callable[[], object] | None = None) -> None:
    """:func:`insert`, once more where the connection turns out to be dead.

    Whether the first try was committed is not known then; it does not matter, since an id counts once.
    """
    try:
        insert(rows, meanwhile=meanwhile)
    except (OperationalError, InterfaceError):
        if connection.in_atomic_block:
            raise
        connection.close()
        insert(rows)


class Gauge:
    """How full the inbox is: as of 0.1 seconds ago where many ask, of :attr:`OLDEST` at most.

    While it is far from full (a quarter of what may wait) it is looked at less often: each process asks for itself.
    """

    INTERVAL, INTERVAL_FAR = 0.1, 0.3
    OLDEST = 0.5
    DISK_INTERVAL = 1.0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._looked_at = 0.0
        self._disk_at = 0.0
        self._events = 0
        self._disk_low = False
        self.oldest: datetime | None = None

    def admit(self, events: int, *, reserved: bool = False) -> None:
        """Take room for ``events`` or raise :class:`InboxFull`; ``reserved`` is for the gateways' own events."""
        self._look()
        if self._disk_low:
            raise InboxFull("The disk is nearly full; nothing more is accepted until there is room", retry_after=30)
        limit = settings.USAGE_INBOX_MAX_EVENTS
        if reserved:
            limit += settings.USAGE_INBOX_RESERVED_EVENTS
        if self._events + events > limit:
            raise InboxFull("More events are waiting than may wait; send this batch again in a second", retry_after=1)
        self._events += events

    @property
    def is_young(self) -> bool:
        """Whether :meth:`admit` asks nobody."""
        return time.monotonic() - self._looked_at < 0.9 * self.OLDEST

    @property
    def events(self) -> int:
        """Events that wait, as last seen."""
        self._look()
        return self._events

    def reset(self) -> None:
        """Look anew at the next request (tests)."""
        self._looked_at = self._disk_at = 0.0
        self._events, self._disk_low = 0, False

    def _look(self) -> None:
        age = time.monotonic() - self._looked_at
        if age >= self.OLDEST:
            self._read()
        elif age >= (self.INTERVAL_FAR if 4 * self._events < settings.USAGE_INBOX_MAX_EVENTS else self.INTERVAL):
            meanwhile("inbox", self._read)

    def _read(self) -> None:
        """Look, one at a time; whoever comes while somebody looks goes by what was seen before."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            now = time.monotonic()
            with connection.cursor() as cursor:
                cursor.execute("SELECT coalesce(sum(events), 0), min(received_at) FROM usage_inbox")
                self._events, self.oldest = cursor.fetchone()
            self._looked_at = now
            if now - self._disk_at >= self.DISK_INTERVAL:
                self._disk_at = now
                self._disk_low = _disk_is_low()
        finally:
            self._lock.release()


def _disk_is_low() -> bool:
    """Whether the data directory, where our own PostgreSQL writes, has less room left than it needs to go on."""
    if not str(settings.DATABASES["default"].get("HOST") or "").startswith("/"):
        return False
    try:
        return shutil.disk_usage(settings.DATA_DIR).free < settings.USAGE_MIN_FREE_BYTES
    except OSError:
        return False


gauge = Gauge()
