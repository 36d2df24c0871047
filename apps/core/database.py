"""Connections to the database outside Django's care."""

from uuid import UUID

import psycopg
from django.db import connection

__all__ = ["connect", "lock_org"]


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


def lock_org(what: str, org_id: UUID) -> None:
    """One transaction at a time for ``what`` of an organisation; held until the transaction ends.

    An advisory lock: it needs no row, and stands in nobody's way who does not ask for the same.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{what}:{org_id}"])
