"""Django's PostgreSQL backend with fewer round trips.

A request's connection is looked at without asking the server, and statements whose result nobody waits for go along
with the next one of their transaction, at the latest with its commit.
"""

import select
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from django.db.backends.postgresql import base
from django.db.backends.utils import debug_transaction
from django.db.transaction import TransactionManagementError
from psycopg import pq
from psycopg.errors import error_from_result

__all__ = ["DatabaseWrapper"]

# What the published types of Django leave out of it is what is changed here.
_Backend: Any = base.DatabaseWrapper


class DatabaseWrapper(_Backend):
    """The backend of ``DATABASES``; :func:`apps.core.database.later` is the door to :meth:`later`."""

    health_check_done: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: list[str] = []
        # A cursor that only puts values into statements; making one costs more than that.
        self._composer: Any = None
        # The connection, and libpq's own quoting of text for it.
        self._escaper: tuple[Any, Any] | None = None

    # ------------------------------------------------------------------ whether the connection lives
    def close_if_health_check_failed(self) -> None:
        """Ask the server only where something came that nobody asked for: its good-bye can be read from the socket.

        Django asks at every request's first query, a round trip each time.
        """
        if self.connection is None or not self.health_check_enabled or self.health_check_done:
            return
        if _is_silent(self.connection):
            self.health_check_done = True
        else:
            super().close_if_health_check_failed()

    # ------------------------------------------------------------------ statements that nobody waits for
    def later(self, statement: str, values: Sequence[Any]) -> None:
        """Execute ``statement`` before the next one of this transaction, or with its commit.

        Each of its ``%s`` stands for a value, and there is no other ``%`` in it. What is wrong with it is raised there.
        Rolled back, it is as if it had been executed at once.
        """
        if not self.in_atomic_block:
            raise TransactionManagementError("A statement can only wait inside a transaction")
        self.validate_no_broken_transaction()
        parts = statement.split("%s")
        if len(parts) != len(values) + 1 or "%" in "".join(parts):
            raise ValueError("A statement that waits has a plain %s for each value, and no other %")
        literals = [*map(self._literal, values), ""]
        self._waiting.append("".join(text for pair in zip(parts, literals, strict=True) for text in pair))

    def _literal(self, value: Any) -> str:
        """A value as SQL has it. The usual types are written here: the driver takes several times as long for each."""
        kind = type(value)
        if value is None:
            return "NULL"
        if kind is str and "\0" not in value:
            return str(self._escaping().escape_literal(value.encode()), "utf-8")
        if kind is UUID:
            return f"'{value}'::uuid"
        if kind is datetime:
            return f"'{value}'::timestamptz" if value.tzinfo is not None else f"'{value}'::timestamp"
        if kind is bytes:
            return f"'\\x{value.hex()}'::bytea"
        if kind is list and value and {str, type(None)}.issuperset(map(type, value)):
            # The driver would look for quotes in each text by itself, and find hundreds in JSON.
            return f"ARRAY[{','.join(map(self._literal, value))}]"
        if self._composer is None or self._composer.connection is not self.connection:
            self._composer = super()._cursor()
        return str(self._composer.mogrify("%s", [value]))

    def _escaping(self) -> Any:
        if self._escaper is None or self._escaper[0] is not self.connection:
            self._escaper = (self.connection, pq.Escaping(self.connection.pgconn))
        return self._escaper[1]

    def tell(self, channel: str) -> None:
        """``NOTIFY`` the listeners of ``channel``, which is an identifier; outside of transactions without a cursor."""
        statement = f"NOTIFY {self.ops.quote_name(channel)}"
        if self.in_atomic_block or self.connection is None:
            with self.cursor() as cursor:
                cursor.execute(statement)
            return
        with debug_transaction(self, statement), self.wrap_database_errors:
            _execute(self.connection, statement)

    def _cursor(self, name: str | None = None) -> Any:
        if self._waiting:
            # One string: the simple protocol takes many statements in one round trip.
            waiting, self._waiting = "; ".join(self._waiting), []
            with super()._cursor() as cursor:
                cursor.execute(waiting)
        return super()._cursor(name)

    def _commit(self) -> None:
        connection = self.connection
        if not self._waiting or connection is None or connection.isolation_level is not None:
            if self._waiting:
                self._cursor().close()
            super()._commit()
            return
        begins = connection.pgconn.transaction_status == pq.TransactionStatus.IDLE
        whole = "; ".join([*(["BEGIN"] if begins else []), *self._waiting, "COMMIT"])
        self._waiting = []
        with debug_transaction(self, whole), self.wrap_database_errors:
            # A statement that fails ends the string: what comes after it, the commit too, is not executed.
            _execute(connection, whole)

    def _rollback(self) -> None:
        self._waiting = []
        super()._rollback()

    def _savepoint_rollback(self, sid: str) -> None:
        # Whatever waits was said after the last savepoint was set, so it goes with any of them.
        self._waiting = []
        super()._savepoint_rollback(sid)

    def close(self) -> None:
        self._waiting = []
        super().close()


def _is_silent(connection: Any) -> bool:
    """Whether there is nothing to read from a connection, its end neither; False where that cannot be told."""
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return not poll.poll(0)
    except Exception:  # closed on our side: whatever the driver says of it
        return False


def _execute(connection: Any, statements: str) -> None:
    """Many statements in one round trip, without the cursor, which costs as much again; raises what psycopg raises."""
    server = connection.pgconn
    result = server.exec_(statements.encode())
    if result.status == pq.ExecStatus.COMMAND_OK:
        return
    if server.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError(server.get_error_message())
    raise error_from_result(result, encoding="utf-8")
