"""The one statement that every ingest request waits for, sent as libpq has it.

A driver's cursor costs 0.3 ms of the interpreter for it, as much as decoding a hundred events; this 0.02 ms. Outside
of transactions only: inside one, the driver has to know.
"""

import select
import struct
import weakref
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import psycopg
from psycopg import pq
from psycopg.errors import error_from_result

from apps.core.asking import answer_of

__all__ = ["INSERT_ROWS", "Row", "Sending", "insert_rows", "prepare"]

_ONE, _MANY = b"mindweave_inbox", b"mindweave_inbox_rows"
# `synchronous_commit` is set inside the statement, so that an ack is durable whatever the server's or the
# connection's default is; it ends with the transaction.
_INSERT = (
    "INSERT INTO usage_inbox (slot, org_id, received_at, events, frames) SELECT {}"
    " WHERE set_config('synchronous_commit', 'on', true) = 'on'"
)
_ROWS = "* FROM unnest({}::smallint[], {}::uuid[], {}::timestamptz[], {}::integer[], {}::bytea[])"
_PLACES = ("$1", "$2", "$3", "$4", "$5")
_ONE_SQL = _INSERT.format(", ".join(_PLACES)).encode()
_ROWS_SQL = _INSERT.format(_ROWS.format(*_PLACES)).encode()
# The same of the columns of several rows, for a cursor of the driver's.
INSERT_ROWS = _INSERT.format(_ROWS.format(*["%b"] * 5))
_TYPES = (21, 2950, 1184, 23, 17)  # smallint, uuid, timestamptz, integer, bytea
_ARRAYS = (1005, 2951, 1185, 1007, 1001)  # arrays of them
_BINARY = (1, 1, 1, 1, 1)
_FORGOTTEN = b"26000"  # invalid_sql_statement_name
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_slot, _moment, _count = struct.Struct(">h"), struct.Struct(">q"), struct.Struct(">i")
# Of one dimension, without NULLs, the type of its elements, their number, the first of which is number 1.
_array = struct.Struct(">iiIii")
_prepared: dict[bytes, "weakref.WeakSet[psycopg.Connection[object]]"] = {
    _ONE: weakref.WeakSet(), _MANY: weakref.WeakSet(),
}  # fmt: skip

# slot, organisation, moment of receipt, events, frames
Row = tuple[int, UUID, datetime, int, bytes]


def insert_rows(
    connection: "psycopg.Connection[object]", rows: Sequence[Row], *, meanwhile: Callable[[], object] | None = None
) -> None:
    """Commit inbox rows together on a connection in autocommit mode; raises what psycopg raises.

    ``meanwhile`` is called while the server works.
    """
    if connection.closed:
        raise psycopg.OperationalError("the connection is closed")
    result = _execute(connection, *_statement(rows), meanwhile)
    if result.command_tuples != len(rows):
        raise RuntimeError("the inbox took fewer rows than it was given")


def prepare(connection: "psycopg.Connection[object]") -> None:
    """Have a connection know the statements of :class:`Sending`; raises what psycopg raises."""
    for name, sql, types in ((_ONE, _ONE_SQL, _TYPES), (_MANY, _ROWS_SQL, _ARRAYS)):
        _check(connection.pgconn.prepare(name, sql, list(types)), connection)
    connection.pgconn.nonblocking = 1


class Sending:
    """Rows on their way on a connection that knows them (:func:`prepare`), for whoever waits for its answer himself.

    Raises what psycopg raises; the connection is of no use then.
    """

    def __init__(self, connection: "psycopg.Connection[object]", rows: Sequence[Row]) -> None:
        self._connection, self._count = connection, len(rows)
        name, _, _, values = _statement(rows)
        connection.pgconn.send_query_prepared(name, list(values), _BINARY)

    def finish(self) -> None:
        """Take the answer, which is there."""
        result = answer_of(self._connection)
        _check(result, self._connection)
        if result.command_tuples != self._count:
            raise RuntimeError("the inbox took fewer rows than it was given")


def _statement(rows: Sequence[Row]) -> tuple[bytes, bytes, tuple[int, ...], tuple[bytes, ...]]:
    if len(rows) == 1:
        return _ONE, _ONE_SQL, _TYPES, _values(*rows[0])
    columns = zip(*(_values(*row) for row in rows), strict=True)
    arrays = tuple(_as_array(oid, column) for oid, column in zip(_TYPES, columns, strict=True))
    return _MANY, _ROWS_SQL, _ARRAYS, arrays


def _values(slot: int, org_id: UUID, received_at: datetime, events: int, frames: bytes) -> tuple[bytes, ...]:
    since = received_at - _EPOCH
    micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return _slot.pack(slot), org_id.bytes, _moment.pack(micros), _count.pack(events), frames


def _as_array(oid: int, values: Sequence[bytes]) -> bytes:
    """The binary form of a PostgreSQL array (array_recv)."""
    parts: list[bytes] = [_array.pack(1, 0, oid, len(values), 1)]
    for value in values:
        parts += (_count.pack(len(value)), value)
    return b"".join(parts)


def _execute(
    connection: "psycopg.Connection[object]",
    name: bytes,
    sql: bytes,
    types: Iterable[int],
    values: Sequence[bytes],
    meanwhile: Callable[[], object] | None,
) -> "pq.abc.PGresult":
    server, prepared = connection.pgconn, _prepared[name]
    while True:
        known = connection in prepared
        if not known:
            _check(server.prepare(name, sql, list(types)), connection)
            prepared.add(connection)
        if meanwhile is None:
            result = server.exec_prepared(name, list(values), _BINARY)
        else:
            server.send_query_prepared(name, list(values), _BINARY)
            result = _result(connection, meanwhile)
        # The driver has the server forget all that was prepared where a transaction was rolled back.
        if not known or result.error_field(pq.DiagnosticField.SQLSTATE) != _FORGOTTEN:
            _check(result, connection)
            return result
        prepared.discard(connection)


def _result(connection: "psycopg.Connection[object]", meanwhile: Callable[[], object]) -> "pq.abc.PGresult":
    """Send what waits, and wait for the one result of a statement; other threads run meanwhile."""
    server = connection.pgconn
    ready = select.poll()
    ready.register(server.socket, select.POLLIN | select.POLLOUT)
    while server.flush():
        ready.poll()
        server.consume_input()
    meanwhile()
    ready.modify(server.socket, select.POLLIN)
    while server.is_busy():
        ready.poll()
        server.consume_input()
    return answer_of(connection)


def _check(result: "pq.abc.PGresult", connection: "psycopg.Connection[object]") -> None:
    if result.status == pq.ExecStatus.COMMAND_OK:
        return
    if connection.pgconn.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError(connection.pgconn.get_error_message())
    raise error_from_result(result, encoding="utf-8")
