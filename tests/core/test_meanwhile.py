"""Work that nobody waits for is done by a thread, once, and its errors stay there."""

import logging
import threading
import time

import pytest
from django.db import OperationalError, connection, transaction

from apps.core.meanwhile import meanwhile, settled

pytestmark = pytest.mark.django_db(transaction=True)


def test_another_thread_does_it_on_a_connection_of_its_own() -> None:
    seen: list[tuple[str, int]] = []

    def look() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            seen.append((threading.current_thread().name, cursor.fetchone()[0]))

    meanwhile("look", look)
    settled()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        mine = cursor.fetchone()[0]
    assert seen[0][0] == "meanwhile"
    assert seen[0][1] != mine
    assert _ends(seen[0][1]), "its connection ends with it"


def _ends(pid: int) -> bool:
    """Whether a connection's process goes away within some seconds."""
    for _ in range(200):
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", [pid])
            if not cursor.fetchone()[0]:
                return True
        time.sleep(0.05)
    return False


def test_what_waits_already_is_done_once_and_what_comes_due_meanwhile_again() -> None:
    begun, go, done = threading.Event(), threading.Event(), []

    def slow() -> None:
        begun.set()
        go.wait(10)
        done.append("first")

    meanwhile("slow", slow)
    begun.wait(10)
    for _ in range(5):
        meanwhile("slow", lambda: done.append("second"))
    go.set()
    settled()
    assert done == ["first", "second"]


def test_an_error_is_logged_and_the_next_is_done(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def away() -> None:
        raise OperationalError("the server is away")

    def wrong() -> None:
        raise ValueError("a mistake")

    with caplog.at_level(logging.INFO, logger="apps.core.meanwhile"):
        meanwhile("away", away)
        meanwhile("wrong", wrong)
        meanwhile("right", lambda: done.append(1))
        settled()
    assert done == [1]
    assert "away could not be looked at: the server is away" in caplog.text
    assert "a mistake" in caplog.text


def test_inside_a_transaction_nothing_is_done() -> None:
    done: list[int] = []
    with transaction.atomic():
        meanwhile("look", lambda: done.append(1))
        settled()
    assert done == []


def test_after_it_has_ended_it_begins_anew() -> None:
    done: list[int] = []
    for number in range(3):
        meanwhile("look", lambda number=number: done.append(number))  # type: ignore[misc]
        settled()
    assert done == [0, 1, 2]


def test_what_is_for_later_gathers_and_holds_up_nobody() -> None:
    done: list[str] = []
    seen = threading.Event()
    meanwhile("later", lambda: (done.append("later"), seen.set()), after=0.2)
    meanwhile("later", lambda: done.append("not again"), after=0.2)
    meanwhile("soon", lambda: done.append("soon"))
    assert seen.wait(10)
    assert done == ["soon", "later"]
    meanwhile("much later", lambda: done.append("much later"), after=3600)
    settled()
    assert done[2:] == ["much later"], "nothing is lost when the thread ends"
