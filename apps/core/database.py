"""Connections to the database outside Django's care."""

import psycopg
from django.db import connection

__all__ = ["connect"]


def connect() -> psycopg.Connection:
    """A new connection to Django's database in autocommit, for what belongs to a connection: LISTEN, advisory locks.

    The caller closes it. Raises ``psycopg.OperationalError`` where the server cannot be reached.
    """
    params = {
        name: value
        for name, value in connection.get_connection_params().items()  # type: ignore[attr-defined]
        if name not in {"cursor_factory", "context", "prepare_threshold"}
    }
    return psycopg.connect(**params, autocommit=True)
