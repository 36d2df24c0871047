"""Commits of inbox rows that a loop of events waits for instead of a thread.

A few connections to PostgreSQL, each with one commit under way at a time; what comes while all are busy gathers, and is
one commit of the next that is free. A connection that fails is given up, and the rows are handed to whoever sends them
another way.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg

from apps.core.asking import Outgoing
from apps.core.database import connect
from apps.usage.ingest.committer import joined_rows
from apps.usage.ingest.inbox import InboxRow, sent_row
from apps.usage.ingest.statement import Sending, prepare

__all__ = ["Sender"]

# Called when rows are committed, with None, or with why they may not be.
Done = Callable[[BaseException | None], object]


class Sender:
    """Sends rows; all of its methods are called on the loop's thread."""

    CONNECTIONS = 3
    # What gathers is split into commits of about so many: the drain takes a row of an organisation at a time.
    MOST_EVENTS = 5_000

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._free: list[psycopg.Connection[Any]] = []
        self._busy = 0
        self._opening = 0
        self._waiting: deque[tuple[list[InboxRow], Done]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy and not self._waiting

    def can_send(self) -> bool:
        """Whether there is a connection at all; where there is none, opens some."""
        if not self._free and not self._busy:
            self.open()
            return False
        return True

    def open(self) -> None:
        """Open what is missing, on another thread."""
        while self._opening + self._busy + len(self._free) < self.CONNECTIONS:
            self._opening += 1
            self._loop.run_in_executor(None, _connect).add_done_callback(self._opened)

    def _opened(self, future: "asyncio.Future[psycopg.Connection[Any]]") -> None:
        self._opening -= 1
        if future.exception() is None:
            self._free.append(future.result())
            self._next()

    def send(self, rows: list[InboxRow], done: Done) -> None:
        """Commit rows, soon; ``done`` is called once for them."""
        self._waiting.append((rows, done))
        self._next()

    def _next(self) -> None:
        while self._waiting and self._free:
            rows, done = self._gathered()
            self._busy += 1
            _Commit(self, self._loop, self._free.pop(), [sent_row(row) for row in joined_rows(rows)], done)
        if self._waiting and not self._busy:
            self._give_up(psycopg.OperationalError("there is no connection to the database"))

    def _gathered(self) -> tuple[list[InboxRow], list[Done]]:
        """The first that wait, as many as are one commit."""
        rows: list[InboxRow] = []
        done: list[Done] = []
        events = 0
        while self._waiting:
            own, whose = self._waiting[0]
            events += sum(row.events for row in own)
            if rows and events > self.MOST_EVENTS:
                break
            self._waiting.popleft()
            rows += own
            done.append(whose)
        return rows, done

    def ended(self, connection: "psycopg.Connection[Any]", done: list[Done], error: BaseException | None) -> None:
        """A commit is over."""
        self._busy -= 1
        if error is None:
            self._free.append(connection)
        else:
            connection.close()
            self.open()
        self._next()
        self._tell(done, error)

    def _give_up(self, error: BaseException) -> None:
        waiting, self._waiting = self._waiting, deque()
        self.open()
        self._tell([done for _, done in waiting], error)

    def _tell(self, done: list[Done], error: BaseException | None) -> None:
        """Each by itself: what fails in one is logged by the loop, and keeps none of the others waiting."""
        for each in done:
            self._loop.call_soon(each, error)

    def close(self) -> None:
        """Close the connections; nothing may be under way."""
        for connection in self._free:
            connection.close()


def _connect() -> "psycopg.Connection[Any]":
    connection = connect()
    prepare(connection)
    return connection


class _Commit:
    """One commit under way."""

    def __init__(
        self,
        sender: Sender,
        loop: asyncio.AbstractEventLoop,
        connection: "psycopg.Connection[Any]",
        rows: list[Any],
        done: list[Done],
    ) -> None:
        self._sender, self._loop, self._connection, self._done = sender, loop, connection, done
        self._socket = -1
        self._outgoing = Outgoing(loop, connection)
        try:
            self._sending = Sending(connection, rows)
            self._socket = connection.pgconn.socket
            loop.add_reader(self._socket, self._ready)
            self._outgoing.flush(self._ready)
        except Exception as error:
            self._end(error)

    def _ready(self) -> None:
        try:
            server = self._connection.pgconn
            server.consume_input()
            if self._outgoing.is_left:
                self._outgoing.flush(self._ready)
            if server.is_busy():
                return
            self._sending.finish()
        except Exception as error:
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            if self._outgoing.is_left:
                self._loop.remove_writer(self._socket)
        self._sender.ended(self._connection, self._done, error)
