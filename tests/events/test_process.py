"""The dispatcher as it runs in production: a process that may be told to stop, and may be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection, transaction

from apps.core.clock import now
from apps.core.tenancy import system_scope
from apps.events import registry
from apps.events.contracts import NewEvent
from apps.events.models import DeadLetter, Delivery
from apps.events.services import publish_many
from tests.events import listener
from tests.waiting import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]

ROOT = Path(__file__).resolve().parents[2]


class Dispatchers:
    """Real ``manage.py bus`` processes on the test's database."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        database = connection.settings_dict
        host, name, user = (quote(database[part] or "", safe="") for part in ("HOST", "NAME", "USER"))
        address = f"{user}:{quote(database['PASSWORD'])}@{host}" if database["PASSWORD"] else f"{user}@{host}"
        port = f":{database['PORT']}" if database["PORT"] else ""
        process = subprocess.Popen(
            [sys.executable, "manage.py", "bus"],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": os.environ.get("TEST_PROCESS_SETTINGS", "tests.events.process_settings"),
                "DATABASE_URL": f"postgres://{address}{port}/{name}",
            },
            stdout=(self.logs / f"{len(self.processes)}.out").open("wb"),
            stderr=subprocess.STDOUT,
        )
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def dispatchers(tmp_path: Path) -> Iterator[Dispatchers]:
    registry.register_type(listener.EVENT)
    with connection.cursor() as cursor:
        cursor.execute(listener.TABLE)
    made = Dispatchers(tmp_path)
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


def test_killed_dispatchers_lose_nothing_and_double_nothing(dispatchers) -> None:
    total = 3000
    publish_numbers(range(total))
    for _ in range(3):
        process = dispatchers.start()
        before = len(heard())
        wait_for(lambda before=before: len(heard()) > before)
        process.kill()
        process.wait()
    dispatchers.start()
    # What the killed ones had in hand is put off for some seconds at most.
    wait_for(lambda: len(heard()) >= total, seconds=30)
    assert heard() == list(range(total))
    wait_for(lambda: not Delivery.objects.exists())


def test_two_dispatchers_share_the_work_and_one_takes_over_when_the_other_is_killed(dispatchers) -> None:
    first, _ = dispatchers.start(), dispatchers.start()
    publish_numbers(range(500))
    wait_for(lambda: len(heard()) > 0)
    first.kill()
    wait_for(lambda: len(heard()) >= 500, seconds=30)
    assert heard() == list(range(500))


def test_an_event_that_kills_its_process_ends_as_a_dead_letter_and_its_neighbours_are_delivered(
    dispatchers, tmp_path
) -> None:
    publish_numbers(range(20), poison={13: str(tmp_path / "always")})
    deadline_of_retry = "UPDATE events_delivery SET due_at = %s WHERE state = 'retrying'"

    def buried() -> bool:
        if all(process.poll() is not None for process in dispatchers.processes):
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
