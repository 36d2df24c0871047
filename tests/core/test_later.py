"""Statements that wait for others of their transaction: as if executed at once, in one round trip."""

import json
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.transaction import TransactionManagementError

from apps.core.database import insert_later, later
from apps.identity.models import User

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def email() -> str:
    return f"{uuid4().hex}@later.test"


def _fail_with(email: str) -> None:
    with transaction.atomic():
        insert_later(User(email=email))
        raise ZeroDivisionError


def _insert_twice(email: str, told: list[str]) -> None:
    with transaction.atomic():
        transaction.on_commit(lambda: told.append("committed"))
        insert_later(User(email=email))
        insert_later(User(email=email))


def _is_there(email: str) -> bool:
    return User.objects.filter(email=email).exists()


def test_what_waits_is_seen_by_the_next_statement_and_stays_with_the_commit(email: str) -> None:
    with transaction.atomic():
        insert_later(User(email=email, name="5 % of 100 %"))
        assert User.objects.get(email=email).name == "5 % of 100 %"
        later("UPDATE identity_user SET name = %s WHERE email = %s", ["'; -- changed", email])
    assert User.objects.get(email=email).name == "'; -- changed"


def test_a_transaction_of_what_waits_alone_commits(email: str) -> None:
    with transaction.atomic():
        insert_later(User(email=email))
    assert _is_there(email)
    assert connection.get_autocommit()


def test_what_waits_goes_with_the_transaction_and_with_its_savepoint(email: str) -> None:
    with pytest.raises(ZeroDivisionError):
        _fail_with(email)
    assert not _is_there(email)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            _fail_with(email)
        assert not _is_there(email)
    assert not _is_there(email)


def test_what_is_wrong_with_it_is_raised_by_the_commit_and_nothing_stays(email: str) -> None:
    told: list[str] = []
    with pytest.raises(IntegrityError):
        _insert_twice(email, told)
    assert not _is_there(email)
    assert told == []
    with transaction.atomic():
        insert_later(User(email=email))
    assert _is_there(email)


def test_outside_a_transaction_nothing_can_wait(email: str) -> None:
    with pytest.raises(TransactionManagementError):
        later("SELECT 1", [])


def test_a_connection_that_the_server_closed_is_replaced_before_it_is_used() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    with connection.copy().cursor() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        other.connection.close()
    connection.close_if_unusable_or_obsolete()  # as every request begins
    try:
        assert User.objects.count() >= 0
    except OperationalError:
        pytest.fail("the first statement of a request met the dead connection")


@pytest.mark.parametrize("texts", [["a"], ["it's", None, 'a "quoted" \\ text', "{x,y}", "NULL", "100 %s"], [None], []])
def test_a_list_of_texts_is_an_array_of_them(texts: list[str | None], email: str) -> None:
    with transaction.atomic():
        insert_later(User(email=email, name="none"))
        later("UPDATE identity_user SET name = to_jsonb(%s::text[])::text WHERE email = %s", [texts, email])
    assert json.loads(User.objects.get(email=email).name) == texts
