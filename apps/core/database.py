"""The database outside Django's care: connections of one's own, and statements that wait for others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from uuid import UUID

import psycopg
from django.db import InterfaceError, OperationalError, connection, models, transaction

__all__ = ["connect", "insert_later", "later", "lock_org", "looked_after", "one_snapshot", "read_often", "tell"]


def connect() -> psycopg.Connection:
    """A new connection to Django's database in autocommit, for what belongs to a connection: LISTEN, advisory locks.

    The caller closes it. Raises ``psycopg.OperationalError`` where the server cannot be reached.
    """
    params = {
        name: value
        for name, value in connection.get_connection_params().items()
        if name not in {"cursor_factory", "context", "prepare_threshold"}
    }
    return psycopg.connect(**params, autocommit=True)


@contextmanager
def looked_after() -> Iterator[None]:
    """The block begins with a connection that works, and one that fails in it is not kept.

    What Django does at both ends of its requests, for those that do not pass it.
    """
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
    try:
        yield
    except (OperationalError, InterfaceError):
        connection.close()
        raise


@contextmanager
def one_snapshot() -> Iterator[None]:
    """All reads of the block see the database as it was at the first of them; nothing can be written in it.

    Inside a transaction the block is part of that, and sees what it sees.
    """
    if connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()
    bare = connection.connection
    # The driver begins with these words then; a statement that says so afterwards is one more to wait for.
    bare.isolation_level, bare.read_only = psycopg.IsolationLevel.REPEATABLE_READ, True
    try:
        with transaction.atomic():
            yield
    finally:
        if not bare.closed:
            bare.isolation_level = bare.read_only = None


def read_often(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of a statement that is asked so often that planning it counts: planned once for each connection.

    The plan is one for all values, so it is for statements whose index is clear. Inside a transaction it is a statement
    like any other, after those that wait (:func:`later`). Raises what Django's cursors raise.
    """
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute(statement, values)
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as bare:
        return bare.execute(statement, values, prepare=True).fetchall()


def lock_org(what: str, org_id: UUID) -> None:
    """One transaction at a time for ``what`` of an organisation; held until the transaction ends.

    An advisory lock: it needs no row, and stands in nobody's way who does not ask for the same.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{what}:{org_id}"])


def tell(channel: str) -> None:
    """Wake whoever listens to ``channel``, once the transaction, if there is one, commits."""
    connection.tell(channel)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- statements that wait
def later(statement: str, values: Sequence[Any]) -> None:
    """Execute a statement with the next one of this transaction, or with its commit: one round trip for all of them.

    For writes whose result nobody needs. Each ``%s`` stands for a value, and there is no other ``%``. An error is
    raised where the statement is executed; whoever wants to catch one here executes it at once. Raises
    ``TransactionManagementError`` outside a transaction.
    """
    connection.later(statement, values)  # type: ignore[attr-defined]


def insert_later(row: models.Model) -> None:
    """Insert a new row as :func:`later` does. Its key must be known already, and no default be the database's own.

    Not checked is what ``save`` would: whose organisation it is, and whether the row is there.
    """
    statement, fields = _insertion(type(row))
    later(statement, [field.get_db_prep_save(field.pre_save(row, True), connection) for field in fields])
    row._state.adding, row._state.db = False, connection.alias


@cache
def _insertion(model: type[models.Model]) -> tuple[str, tuple[Any, ...]]:
    fields = model._meta.concrete_fields
    names = ", ".join(f'"{field.column}"' for field in fields)
    values = ", ".join("%s" for _ in fields)
    return f'INSERT INTO "{model._meta.db_table}" ({names}) VALUES ({values})', tuple(fields)  # noqa: S608 - names
