"""Last uses of keys are written together, beside requests, and are in nobody's way."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.db import OperationalError, connection

from apps.core.meanwhile import settled
from apps.projects import uses
from apps.projects.uses import note_use
from tests.cast import make_cast, make_key

pytestmark = pytest.mark.django_db(transaction=True)


def _last(key_id: UUID) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT last_used_at IS NOT NULL, host(last_used_ip), last_used_agent FROM projects_apikey WHERE id = %s",
            [key_id],
        )
        found: tuple[Any, ...] = cursor.fetchone()
    return found


@pytest.fixture
def keys() -> list[UUID]:
    # What other tests' keys are still due goes with nobody's here.
    settled()
    uses._due.clear()
    cast = make_cast()
    return [make_key(cast)[0].id for _ in range(3)]


def test_what_came_together_is_one_statement(keys: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = uses._write
    monkeypatch.setattr(uses, "_write", lambda found, every: (written.append(len(found)), write(found, every)))
    note_use(keys[0], "192.0.2.1", "loom/1\0", every=60)
    note_use(keys[1], None, "", every=60)
    settled()
    assert sum(written) == 2
    assert [_last(key) for key in keys] == [(True, "192.0.2.1", "loom/1"), (True, None, ""), (False, None, "")]
    # Within the time another use changes nothing.
    note_use(keys[0], "192.0.2.99", "other", every=60)
    settled()
    assert _last(keys[0]) == (True, "192.0.2.1", "loom/1")


def test_a_key_that_somebody_holds_waits_for_nobody(keys: list[UUID]) -> None:
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT 1 FROM projects_apikey WHERE id = %s FOR UPDATE", [keys[0]])
        for key in keys:
            note_use(key, "192.0.2.1", "", every=60)
        settled()
        assert [_last(key)[0] for key in keys] == [False, True, True]


def test_uses_that_could_not_be_written_go_with_the_next(keys: list[UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(uses, "_write", fails)
        note_use(keys[0], "192.0.2.1", "", every=60)
        settled()
    assert not _last(keys[0])[0]
    note_use(keys[1], "192.0.2.2", "", every=60)
    settled()
    assert [_last(key)[1] for key in keys] == ["192.0.2.1", "192.0.2.2", None]


def test_a_use_that_cannot_be_written_keeps_no_others_back(keys: list[UUID]) -> None:
    note_use(keys[0], "no address", "", every=60)
    settled()
    note_use(keys[1], "192.0.2.2", "", every=60)
    settled()
    assert [_last(key)[0] for key in keys] == [False, True, False]
