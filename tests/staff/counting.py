"""How many queries a page of the staff admin costs."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection
from django.test.utils import CaptureQueriesContext

__all__ = ["counted"]

_BOOKKEEPING = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT", "BEGIN", "COMMIT")


@contextmanager
def counted() -> Iterator[list[str]]:
    """Fills the list with the statements that ran inside; the marks of transactions are not counted."""
    statements: list[str] = []
    with CaptureQueriesContext(connection) as captured:
        yield statements
    statements += [query["sql"] for query in captured if not query["sql"].startswith(_BOOKKEEPING)]
