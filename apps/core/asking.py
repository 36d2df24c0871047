"""Questions to PostgreSQL whose answers a loop of events waits for instead of a thread.

For what a loop has to know before it goes on, and asks often: each statement is prepared once. One connection, one
question at a time; all methods are called on the loop's thread.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result

from apps.core.database import connect

__all__ = ["Asker", "Outgoing", "Question", "Rows", "Then", "answer_of"]

Rows = list[tuple[Any, ...]]
# Called once, with the rows and None, or with no rows and why there are none.
Then = Callable[[Rows, BaseException | None], object]

_ANSWERS = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)


class Question(NamedTuple):
    """A statement, which has no ``%`` but the ``%s`` of its values."""

    statement: str
    values: Sequence[Any]


def answer_of(connection: "psycopg.Connection[Any]") -> "pq.abc.PGresult":
    """The one answer to a statement, which is there; raises ``psycopg.OperationalError`` where there is none."""
    server = connection.pgconn
    result = server.get_result()
    if result is None:
        raise psycopg.OperationalError("the server ended before it answered")
    while server.get_result() is not None:
        pass
    return result


class Outgoing:
    """What a connection still has to send."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: "psycopg.Connection[Any]") -> None:
        self._loop, self._server = loop, connection.pgconn
        self.is_left = False

    def flush(self, ready: Callable[[], object]) -> None:
        """Send what the socket takes; ``ready`` is called when it takes more, and is to flush again.

        It is not kept: it mostly is a method of who has this, and what refers to itself stays until the collector comes
        by.
        """
        is_left = bool(self._server.flush())
        if is_left and not self.is_left:
            self._loop.add_writer(self._server.socket, ready)
        elif self.is_left and not is_left:
            self._loop.remove_writer(self._server.socket)
        self.is_left = is_left


class Asker:
    """Asks; where there is no connection the answer is an error, and one is opened meanwhile on another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._connection: psycopg.Connection[Any] | None = None
        self._socket = -1
        self._outgoing: Outgoing | None = None
        self._is_opening = self._is_closed = False
        self._names: dict[str, bytes] = {}
        self._waiting: deque[tuple[Question, Then]] = deque()
        self._asked: _Asked | None = None

    def open(self) -> None:
        """Open the connection, if there is none."""
        if self._connection is None and not self._is_opening and not self._is_closed:
            self._is_opening = True
            self._loop.run_in_executor(None, connect).add_done_callback(self._opened)

    @property
    def is_opening(self) -> bool:
        """Whether a connection is on its way."""
        return self._is_opening

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def _opened(self, future: "asyncio.Future[psycopg.Connection[Any]]") -> None:
        self._is_opening = False
        if future.exception() is not None:
            return
        connection = future.result()
        if self._is_closed:
            connection.close()
            return
        connection.pgconn.nonblocking = 1
        self._connection, self._socket = connection, connection.pgconn.socket
        self._outgoing = Outgoing(self._loop, connection)
        self._loop.add_reader(self._socket, self._ready)

    def ask(self, question: Question, then: Then) -> None:
        """Have ``then`` called with the answer."""
        if self._connection is None:
            self.open()
            self._loop.call_soon(then, [], psycopg.OperationalError("there is no connection to the database"))
            return
        self._waiting.append((question, then))
        if self._asked is None:
            self._next()

    def _next(self) -> None:
        if not self._waiting or self._connection is None or self._outgoing is None:
            return
        question, then = self._waiting.popleft()
        name = self._names.get(question.statement)
        try:
            self._asked = _Asked(self._connection, question, then, name or b"mindweave_%d" % next(_numbers))
            if name is None:
                self._asked.send_statement()
            else:
                self._asked.send_values()
            self._outgoing.flush(self._ready)
        except Exception as error:
            self._fail(error)

    def _ready(self) -> None:
        if self._connection is None or self._outgoing is None:
            return
        try:
            server = self._connection.pgconn
            server.consume_input()
            if self._outgoing.is_left:
                self._outgoing.flush(self._ready)
            if server.is_busy() or self._asked is None:
                return
            asked = self._asked
            result = asked.take()
            if not asked.is_prepared:
                self._names[asked.question.statement] = asked.name
                asked.send_values()
                self._outgoing.flush(self._ready)
                return
            rows = asked.rows(result)
        except Exception as error:
            self._fail(error)
            return
        self._asked = None
        self._loop.call_soon(asked.then, rows, None)
        self._next()

    def _fail(self, error: BaseException) -> None:
        """Whatever it was: the connection is given up, and whoever waits asks another way."""
        if self._socket >= 0:
            self._loop.remove_reader(self._socket)
            if self._outgoing is not None and self._outgoing.is_left:
                self._loop.remove_writer(self._socket)
        if self._connection is not None:
            self._connection.close()
        self._connection, self._socket, self._outgoing = None, -1, None
        self._names = {}
        waiting = [then for _, then in self._waiting]
        if self._asked is not None:
            waiting.insert(0, self._asked.then)
        self._asked = None
        self._waiting.clear()
        self.open()
        for then in waiting:
            self._loop.call_soon(then, [], error)

    def close(self) -> None:
        """Close the connection; what is not answered is told so."""
        self._is_closed = True
        self._fail(psycopg.OperationalError("nothing is asked any more"))


_numbers = count(1)


class _Asked:
    """A question under way."""

    def __init__(self, connection: "psycopg.Connection[Any]", question: Question, then: Then, name: bytes) -> None:
        self.question, self.then, self.name = question, then, name
        self.is_prepared = False
        self._connection = connection
        self._adapting = Transformer(connection)
        self._values = self._adapting.dump_sequence(question.values, [PyFormat.AUTO] * len(question.values))

    def send_statement(self) -> None:
        """Have the server know the statement; the values come after its answer."""
        parts = self.question.statement.split("%s")
        numbered = "".join(f"{part}${n}" for n, part in enumerate(parts[:-1], 1)) + parts[-1]
        self._connection.pgconn.send_prepare(self.name, numbered.encode(), self._adapting.types)

    def send_values(self) -> None:
        self.is_prepared = True
        self._connection.pgconn.send_query_prepared(self.name, self._values, self._adapting.formats)

    def take(self) -> "pq.abc.PGresult":
        """The answer, which is there."""
        result = answer_of(self._connection)
        if result.status not in _ANSWERS:
            raise error_from_result(result, encoding="utf-8")
        return result

    def rows(self, result: "pq.abc.PGresult") -> Rows:
        self._adapting.set_pgresult(result)
        return self._adapting.load_rows(0, result.ntuples, tuple)
