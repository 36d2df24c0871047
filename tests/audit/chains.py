"""Chains of a test's own: entries that are committed and sealed, and a hand that changes them behind the scenes."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connection, transaction

from apps.audit.chain import seal_all
from apps.audit.contracts import Verified
from apps.audit.services import record
from apps.audit.verify import verify_chain
from apps.core.context import bind
from apps.core.contracts import Actor
from apps.core.ids import uuid7
from apps.core.tenancy import system_scope

ACTION = "bus.subscription_paused"
ALICE = Actor("user", id=UUID(int=0xA11CE), label="alice@example.com", ip="192.0.2.7", user_agent="Firefox")


def entry(org_id: UUID | None, **more) -> UUID:
    """Something that was done, committed."""
    values = {"action": ACTION, "target_type": "test", "target_id": "t-1", "target_label": "Loom", **more}
    with bind(actor=values.pop("actor", ALICE)), transaction.atomic():
        return record(org_id=org_id, **values)


def chain(count: int = 5) -> tuple[UUID, list[UUID]]:
    """A new organisation's chain of so many sealed entries, and their ids."""
    org_id = uuid7()
    ids = [entry(org_id, target_id=f"t-{number}", after={"n": number}) for number in range(count)]
    seal_all()
    return org_id, ids


@contextmanager
def tampered(*statements: str, **values) -> Iterator[None]:
    """What a superuser could do whom no trigger stops; undone afterwards."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL session_replication_role = replica")
            for statement in statements:
                cursor.execute(statement, values)
                assert cursor.rowcount, "nothing was tampered with"
        yield
        transaction.set_rollback(True)


def verified(org_id: UUID, **more) -> Verified:
    with system_scope("the test verifies"):
        return verify_chain(org_id, **more)


def query(sql: str, *values) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
