"""Commits of inbox rows that a loop of events waits for instead of a thread.

A few connections to PostgreSQL, each with one commit under way at a time; what comes while all are busy gathers, and is
one commit of the next that is free. A connection that fails is given up, and the rows are handed to whoever sends them
another way.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg

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

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._free: list[psycopg.Connection[Any]] = []
        self._busy = 0
        self._opening = 0
        self._rows: list[InboxRow] = []
        self._done: list[Done] = []

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._busy and not self._rows

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
        self._rows += rows
        self._done.append(done)
        self._next()

    def _next(self) -> None:
        if not self._rows:
            return
        if not self._free:
            if not self._busy:
                self._give_up(psycopg.OperationalError("there is no connection to the database"))
            return
        rows, done = self._rows, self._done
        self._rows, self._done = [], []
        connection = self._free.pop()
        self._busy += 1
        _Commit(self, self._loop, connection, [sent_row(row) for row in joined_rows(rows)], done)

    def ended(self, connection: "psycopg.Connection[Any]", done: list[Done], error: BaseException | None) -> None:
        """A commit is over."""
        self._busy -= 1
        if error is None:
            self._free.append(connection)
        else:
            connection.close()
            self.open()
        for each in done:
            each(error)
        self._next()

    def _give_up(self, error: BaseException) -> None:
        done, self._done, self._rows = self._done, [], []
        self.open()
        for each in done:
            each(error)

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
        self._is_writing = False
        try:
            self._sending = Sending(connection, rows)
            self._socket = connection.pgconn.socket
            loop.add_reader(self._socket, self._ready)
            self._flush()
        except BaseException as error:
            self._end(error)

    def _flush(self) -> None:
        blocked = bool(self._connection.pgconn.flush())
        if blocked and not self._is_writing:
            self._loop.add_writer(self._socket, self._ready)
        elif self._is_writing and not blocked:
            self._loop.remove_writer(self._socket)
        self._is_writing = blocked

    def _ready(self) -> None:
        try:
            server = self._connection.pgconn
            server.consume_input()
            if self._is_writing:
                self._flush()
            if server.is_busy():
                return
            self._sending.finish()
        except BaseException as error:
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            if self._is_writing:
                self._loop.remove_writer(self._socket)
        self._sender.ended(self._connection, self._done, error)
