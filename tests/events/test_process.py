"""The dispatcher as it runs in production: a process that may be told to stop, and may be killed."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction

from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.events import registry
from apps.events.contracts import NewEvent
from apps.events.models import DeadLetter, Delivery
from apps.events.services import publish_many
from tests.events import listener
from tests.processes import Processes
from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


class Dispatchers(Processes):
    """``manage.py bus``, as often as wanted."""

    def start(self) -> subprocess.Popen[bytes]:
        return super().start("manage.py", "bus")


@pytest.fixture
def dispatchers(tmp_path: Path) -> Iterator[Dispatchers]:
    registry.register_type(listener.EVENT)
    with connection.cursor() as cursor:
        cursor.execute(listener.TABLE)
    made = Dispatchers(tmp_path, "tests.events.process_settings")
    yield made
    made.end()
    registry.unregister(listener.EVENT.name)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE test_heard")


def publish_numbers(numbers: range, *, poison: dict[int, str] | None = None) -> None:
    with transaction.atomic():
        publish_many(
            [
                NewEvent(
                    listener.EVENT.name,
                    {"n": n, **({"poison": poison[n]} if poison and n in poison else {})},
                    None,
                    key=f"key-{n % 7}",
                )
                for n in numbers
            ]
        )


def heard() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT n FROM test_heard ORDER BY n")
        return [row[0] for row in cursor.fetchall()]


def test_a_dispatcher_told_to_stop_ends_well_and_the_next_goes_on(dispatchers) -> None:
    process = dispatchers.start()
    publish_numbers(range(50))
    wait_for(lambda: heard() == list(range(50)))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    publish_numbers(range(50, 60))
    dispatchers.start()
    wait_for(lambda: heard() == list(range(60)))


def test_a_dispatcher_whose_connections_are_cut_goes_on(dispatchers) -> None:
    process = dispatchers.start()
    publish_numbers(range(10))
    wait_for(lambda: heard() == list(range(10)), seconds=30)
    for total in (1010, 2010):
        publish_numbers(range(total - 1000, total))
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            assert cursor.fetchone()[0] >= 2
        wait_for(lambda total=total: len(heard()) >= total, seconds=40, what="all events")
    assert heard() == list(range(2010))
    assert process.poll() is None


def test_killed_dispatchers_lose_nothing_and_double_nothing(dispatchers) -> None:
    total = 0
    for _ in range(3):
        process = dispatchers.start()
        before = len(heard())
        publish_numbers(range(total, total + 1000))
        total += 1000
        wait_for(lambda before=before: len(heard()) > before, what="the dispatcher to begin")
        dispatchers.kill(process)
    dispatchers.start()
    # What the killed ones had in hand is put off for some seconds at most.
    wait_for(lambda: len(heard()) >= total, seconds=40, what="all events")
    assert heard() == list(range(total))
    wait_for(lambda: not Delivery.objects.exists())


def test_two_dispatchers_share_the_work_and_one_takes_over_when_the_other_is_killed(dispatchers) -> None:
    first, _ = dispatchers.start(), dispatchers.start()
    publish_numbers(range(500))
    wait_for(lambda: len(heard()) > 0)
    dispatchers.kill(first)
    wait_for(lambda: len(heard()) >= 500, seconds=30)
    assert heard() == list(range(500))


def test_an_event_that_kills_its_process_ends_as_a_dead_letter_and_its_neighbours_are_delivered(
    dispatchers, tmp_path
) -> None:
    publish_numbers(range(20), poison={13: str(tmp_path / "always")})
    deadline_of_retry = "UPDATE events_delivery SET due_at = %s WHERE state = 'retrying'"

    def buried() -> bool:
        if all(process.poll() is not None for process in dispatchers.started):
            dispatchers.start()  # as the supervisor does
        with connection.cursor() as cursor:
            cursor.execute(deadline_of_retry, [now()])
        with system_scope("the test looks at all"):
            return DeadLetter.objects.exists()

    wait_for(buried, seconds=60)
    wait_for(lambda: len(heard()) == 19)
    with system_scope("the test looks at all"):
        [letter] = DeadLetter.objects.all()
    assert (letter.envelope["data"]["n"], letter.attempts) == (13, 3)
    assert "died" in letter.error
