"""A key that ends is dead in other processes too, which hear nothing of it but what the database says."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.projects import services
from tests.cast import Cast, make_cast, make_key
from tests.processes import Processes
from tests.waiting import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]

# Asks again and again what a key means, as a server does, and says so whenever the answer changes.
WATCHER = """
import sys, time, django
django.setup()
from apps.core.errors import MindWeaveError
from apps.projects.selectors import key_authenticate
said = None
while True:
    try:
        key = key_authenticate(sys.argv[1], ip="192.0.2.7")
        word = "none" if key is None else f"works {key.rate_limit_per_minute}"
    except MindWeaveError as error:
        word = error.code
    if word != said:
        print(word, flush=True)
        said = word
    time.sleep(0.02)
"""


class Watchers:
    """Several processes that watch one key."""

    def __init__(self, logs: Path, token: str) -> None:
        self.logs, self.processes = logs, Processes(logs, "mindweave.settings")
        environment = {"MINDWEAVE_ENV": "development", "PYTHONWARNINGS": "ignore"}
        self.started: list[subprocess.Popen[bytes]] = [
            self.processes.start("-c", WATCHER, token, **environment) for _ in range(3)
        ]

    def all_say(self, word: str) -> bool:
        return all((self.logs / f"{n}.out").read_text().splitlines()[-1:] == [word] for n in range(len(self.started)))


@pytest.fixture
def cast() -> Cast:
    return make_cast()


@pytest.fixture
def watched(cast: Cast, tmp_path: Path) -> Iterator[tuple[Cast, dict[str, object], Watchers]]:
    key, token = make_key(cast, rate_limit_per_minute=5)
    watchers = Watchers(tmp_path, token)
    try:
        wait_for(lambda: watchers.all_say("works 5"), seconds=60, what="three processes that know the key")
        yield cast, {"org_id": cast.org.id, "project_id": cast.project.id, "key_id": key.id}, watchers
    finally:
        watchers.processes.end()


def test_every_process_sees_a_change_and_then_the_end_of_a_key(watched: tuple[Cast, dict, Watchers]) -> None:
    _, key, watchers = watched
    services.update_api_key(**key, changes={"rate_limit_per_minute": 7})
    wait_for(lambda: watchers.all_say("works 7"), seconds=10, what="the change in every process")
    services.update_api_key(**key, changes={"allowed_ips": ["198.51.100.0/24"]})
    wait_for(lambda: watchers.all_say("ip_not_allowed"), seconds=10, what="the addresses in every process")
    services.update_api_key(**key, changes={"allowed_ips": []})
    wait_for(lambda: watchers.all_say("works 7"), seconds=10, what="no addresses in every process")
    services.revoke_api_key(**key)
    wait_for(lambda: watchers.all_say("none"), seconds=10, what="the end in every process")
