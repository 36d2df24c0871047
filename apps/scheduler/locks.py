"""Locks that a dead process cannot keep: PostgreSQL's advisory locks, on a connection of their own."""

import contextlib
from types import TracebackType
from typing import Self

import psycopg
from django.db import connection

from apps.core.database import connect

__all__ = ["HeldLocks", "is_held"]


class HeldLocks:
    """Takes named locks and holds them until the block ends, or the process does, however it does.

    The connection is its own, so that neither the job's transactions nor a reconnect of Django's lets go of them.
    """

    def __enter__(self) -> Self:
        self._connection = connect()
        return self

    def take(self, name: str) -> bool:
        """Whether the lock was free and is held now; never waits."""
        row = self._connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [name]).fetchone()
        return bool(row and row[0])

    def release(self, name: str) -> None:
        """Let go of one lock."""
        self._connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [name])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # The server ends a closed connection when it comes to it: whoever asks next must not see the locks held.
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.close()


def is_held(name: str) -> bool:
    """Whether a living process holds the lock at this moment."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks, hashtextextended(%s, 0) AS wanted WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND objsubid = 1"
            " AND (classid::bigint << 32 | objid::bigint) = wanted)",
            [name],
        )
        return bool(cursor.fetchone()[0])
