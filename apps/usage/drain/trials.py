"""Trials of inbox rows: what a flush of them would do, in a process of its own, and nothing of it is kept.

A row that ends the process which counts it, by whatever means, ends the trial's process alone. Each trial is one
transaction that is taken back, against an index of ids that knows none: all events of the rows are then new.
"""

import logging
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from uuid import UUID, uuid4

import numpy as np
import orjson
import psycopg
from django.db import connection, connections, transaction

from apps.core import clock
from apps.core.memory import hold_little
from apps.usage.drain.dedupe import DedupeIndex
from apps.usage.drain.dims import Dimensions
from apps.usage.drain.filter import stripe_at
from apps.usage.drain.flush import InboxItem, prepare
from apps.usage.drain.upkeep import is_the_servers, named
from apps.usage.drain.write import write
from apps.usage.ingest.frame import NO_SESSION, RECORD, VERSION, Header, pack
from apps.usage.ingest.inbox import InboxRow, insert

__all__ = ["ServerEnded", "Trials", "Unsettled"]

logger = logging.getLogger(__name__)

# A row of 5,000 events takes some 20 ms; what needs so many seconds of a processor does not come to an end.
CPU_SECONDS: Final = 120
_FILTER_BYTES: Final = 1 << 20
_CACHE_IDS: Final = 1 << 16


class Unsettled(Exception):
    """The trial told nothing about its rows: the database was away, or had no room."""


class ServerEnded(Exception):
    """The connection of the trial was lost in its midst, without a word: its end of it, in PostgreSQL, was ended."""


@dataclass(slots=True)
class _Child:
    pid: int
    asks: int
    answers: int


class Trials:
    """Trials one after the other, in a process that is made anew after each that ended it. A context manager."""

    def __init__(self) -> None:
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def reason(self, items: Sequence[InboxItem]) -> str | None:
        """Why a flush of these rows fails; None where it does not.

        Raises :class:`Unsettled`, or :class:`ServerEnded`.
        """
        return self._ask([item.id for item in items])

    def reason_of_plain(self) -> str | None:
        """The same of a row with one event of the plainest kind: where that fails, it is not for what was sent."""
        return self._ask([])

    def _ask(self, ids: list[int]) -> str | None:
        child = self._child = self._child or _fork()
        _send(child.asks, orjson.dumps(ids))
        found = _receive(child.answers)
        if found is None:
            return f"the process that counted it was ended ({self._end()})"
        answer = orjson.loads(found)
        if answer["lost"]:
            raise ServerEnded(answer["reason"])
        if answer["unsettled"]:
            raise Unsettled(answer["reason"])
        reason: str | None = answer["reason"]
        return reason

    def _end(self) -> str:
        """End the process, if there is one; says how it ended."""
        child, self._child = self._child, None
        if child is None:
            return ""
        os.close(child.asks)
        os.close(child.answers)
        _, status = os.waitpid(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _send(file: int, data: bytes) -> None:
    data = len(data).to_bytes(4, "big") + data
    while data:
        data = data[os.write(file, data) :]


def _receive(file: int) -> bytes | None:
    """What the other side sent; None where it has gone."""
    head = _read(file, 4)
    return _read(file, int.from_bytes(head, "big")) if head is not None else None


def _read(file: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(file, size)
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


# ---------------------------------------------------------------------------------------------- in the other process
def _fork() -> _Child:
    asked, asks = os.pipe()
    answers, answered = os.pipe()
    pid = os.fork()
    if pid:
        os.close(asked)
        os.close(answered)
        return _Child(pid, asks, answers)
    code = 1
    try:
        os.close(asks)
        os.close(answers)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # The connection is the parent's: closing it here would end it there.
        for known in connections.all(initialized_only=True):
            known.connection = None
            known.in_atomic_block, known.savepoint_ids, known.run_on_commit = False, [], []
        _answer_all(asked, answered)
        code = 0
    except BaseException:
        logger.exception("a process that tries rows of the inbox ends")
    finally:
        os._exit(code)


def _answer_all(asked: int, answered: int) -> None:
    hold_little(arenas=1, largest=1 << 20)
    while (data := _receive(asked)) is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = int(used.ru_utime + used.ru_stime) + CPU_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        _send(answered, orjson.dumps(_try(orjson.loads(data))))


def _try(ids: list[int]) -> dict[str, object]:
    begun = False
    try:
        with connection.cursor() as cursor:
            # Whether it was lost before, which tells nothing of these rows.
            cursor.execute("SELECT 1")
        begun = True
        with transaction.atomic():
            _rehearse(ids or [_plain_row()])
            transaction.set_rollback(True)
    except Exception as error:
        if is_the_servers(error):
            lost = begun and _without_a_word(error)
            connection.close()
            return {"unsettled": True, "lost": lost, "reason": named(error)}
        if len(ids) == 1:
            logger.exception("row %d of the inbox cannot be counted", ids[0])
        return {"unsettled": False, "lost": False, "reason": named(error)}
    return {"unsettled": False, "lost": False, "reason": None}


def _without_a_word(error: BaseException) -> bool:
    """Whether the server's side ended as it does when it crashes; one that is shut down says so before."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    return isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None


def _rehearse(ids: list[int]) -> None:
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(
            "SELECT id, slot, org_id, received_at, events, frames FROM usage_inbox WHERE id = ANY(%b::bigint[])"
            " ORDER BY id",
            (ids,),
            binary=True,
        )
        items = [InboxItem(*row) for row in cursor.fetchall()]
    if not items:
        return
    # Of no slot, so that there is nothing to be read back.
    index = DedupeIndex([], filter_bytes=_FILTER_BYTES, cache_ids=_CACHE_IDS)
    index.load(stripe_at(clock.now().timestamp()))
    # What is interned is taken back with the rest, so nothing of it may be remembered.
    write(prepare(items, Dimensions(), index), index.mask)
    with connection.cursor() as cursor:
        # What waits for the next statement is executed with it.
        cursor.execute("SELECT 1")


def _plain_row() -> int:
    """The id of a new row of the inbox, of no organisation."""
    records = np.zeros(1, dtype=RECORD)
    records["id"], records["ts"] = np.void(uuid4().bytes), int(clock.now().timestamp() * 1_000_000)
    records["session"], records["latency"] = NO_SESSION, -1
    nothing = ("session", "", "", False, "", "", "", "", "", "", "ok")
    frame = pack(Header(1, [(None, None, None, None, None)], [nothing], [], [], VERSION), records, (None, None, None))
    insert([InboxRow(UUID(int=0), clock.now(), 1, frame)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM usage_inbox WHERE org_id = %s", [UUID(int=0)])
        number: int = cursor.fetchone()[0]
    return number
