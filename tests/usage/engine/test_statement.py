"""The statement of the inbox is prepared again where the server was made to forget it."""

import pytest
from django.db import connection, transaction

from apps.core.clock import now
from apps.core.database import read_often
from apps.core.ids import uuid7
from apps.usage.ingest.inbox import InboxRow, insert

pytestmark = pytest.mark.django_db(transaction=True)


def _waiting() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM usage_inbox")
        found: int = cursor.fetchone()[0]
    return found


@pytest.mark.parametrize("rows", [1, 3])
def test_it_survives_a_transaction_that_is_rolled_back(rows: int) -> None:
    made = [InboxRow(uuid7(), now(), 1, b"frame") for _ in range(rows)]
    before = _waiting()
    for number in range(3):
        insert(made, meanwhile=list)
        assert _waiting() == before + rows * (number + 1)
        # The driver counts what it has prepared, and lets the server forget all of it after a rollback.
        assert read_often("SELECT %s::integer + 1", [number]) == [(number + 1,)]
        with transaction.atomic():
            transaction.set_rollback(True)
        assert read_often("SELECT %s::integer + 1", [number]) == [(number + 1,)]
