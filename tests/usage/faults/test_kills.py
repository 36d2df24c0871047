"""``kill -9`` of each part in mid-load, and of everything at once: what was acknowledged is there exactly once."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.runtime.instance import Instance
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

_MAKE = """
import json, os
from apps.core.dev.environment import enter
enter()
from benchmarks.accounts import make_accounts
accounts = make_accounts(3, 2)
from apps.core.tenancy import system_scope
from apps.projects.models import ApiKey
with system_scope("a test imports"):
    ApiKey.objects.update(scopes=["ingest", "read", "backfill"])
print(json.dumps([[a.token, str(a.org_id)] for a in accounts]))
"""
_SUMS = """
import json, os, sys
from uuid import UUID
from apps.core.dev.environment import enter
enter()
from benchmarks.ingest import _sums
print(json.dumps(_sums(os.environ["DATABASE_URL"], [UUID(org) for org in sys.argv[1:]])))
"""


_LINES = 100_000


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Load(threading.Thread):
    """Sends batches until told to stop; one whose answer is lost is sent again with the same ids.

    ``pause`` seconds lie between two: without any it would take all of the processor from what else is tested.
    """

    def __init__(self, url: str, token: str, *, pause: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.url, self.token, self.pause = url, token, pause
        self.acknowledged = self.lost = 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            events = [
                {
                    "event_id": str(uuid4()), "timestamp": _now(), "event_type": "api_call",
                    "model": "claude-opus-5", "input_tokens": 3, "output_tokens": 2,
                }
                for _ in range(40)
            ]  # fmt: skip
            body = json.dumps({"events": events}).encode()
            while not self._send(body):
                self.lost += 1
                time.sleep(0.05)
            self.acknowledged += len(events)
            time.sleep(self.pause)

    def _send(self, body: bytes) -> bool:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1/events", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return bool(answer.status == 202)
        except OSError:
            return False


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path / "data")
    made.start(arguments=("--json", "--no-demo")).ready()
    yield made
    made.clear()


def ask(instance: Instance, program: str, *arguments: str) -> Any:
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=instance.root, env=instance.environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return json.loads(found.stdout.splitlines()[-1])


def kill(instance: Instance, *words: str) -> None:
    victims = [pid for word in words for pid in instance.children(word)]
    assert victims, words
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def goes_on(load: list[Load]) -> None:
    """Wait until each of them was answered anew."""
    before = [one.acknowledged for one in load]
    wait_for(
        lambda: all(one.acknowledged > was for one, was in zip(load, before, strict=True)), seconds=60, what="answers"
    )


class Upload:
    """A file of lines without ids, each with the figures of an event of :class:`Load`, sent as an import."""

    def __init__(self, url: str, token: str) -> None:
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"}
        line = {"timestamp": _now(), "event_type": "api_call", "model": "claude-opus-5", "input_tokens": 3,
                "output_tokens": 2}  # fmt: skip
        body = (json.dumps(line) + "\n").encode() * _LINES
        request = urllib.request.Request(f"{url}/v1/imports", body, self.headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            self.url = f"{url}/v1/imports/{json.load(answer)['id']}"

    def now(self) -> dict[str, Any]:
        """The import as the API tells it; nothing of it while the API is away."""
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, headers=self.headers), timeout=10) as answer:
                return dict(json.load(answer))
        except OSError:
            return {"state": "unknown", "accepted": 0}


def is_drained(instance: Instance) -> bool:
    try:
        return json.loads(instance.get("/v1/health")[1])["inbox"]["events"] == 0
    except OSError:
        return False


def test_kill_9_of_each_part_and_of_all_loses_and_doubles_nothing(instance: Instance) -> None:
    accounts = ask(instance, _MAKE)
    load = [Load(instance.url, token) for token, _ in accounts]
    for one in load:
        one.start()
    goes_on(load)
    upload = Upload(instance.url, accounts[0][0])
    wait_for(lambda: upload.now()["accepted"] > 0, seconds=60, what="a chunk of the import")
    kill_named(instance, "mw-worker")
    left = upload.now()
    assert left["state"] == "running", left
    assert 0 < left["accepted"] < _LINES
    for name in ("mw-web", "mw-intake-0", "mw-intake-1"):
        kill_named(instance, name)
    goes_on(load)
    for victims in (("redis-server",), ("/postgres ", "postgres: ")):
        kill(instance, *victims)
        goes_on(load)
    kill_named(instance, "mw-drain")
    goes_on(load)
    # Everything at once, the supervisor among them.
    for pid in instance.left():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    wait_for(lambda: not instance.left(), seconds=20, what="the end of all")
    assert instance.process is not None
    instance.process.wait()
    instance.start(arguments=("--json", "--no-demo")).ready()
    goes_on(load)
    for one in load:
        one.done.set()
    for one in load:
        one.join(60)
    # Whoever finds it without a worker takes it up again, behind its last chunk.
    wait_for(lambda: upload.now()["state"] not in ("unknown", "queued", "running"), seconds=90, what="the import's end")
    done = upload.now()
    assert [done[name] for name in ("state", "accepted", "duplicates", "rejected", "repeated")] == [
        "completed", _LINES, 0, 0, 0,
    ]  # fmt: skip
    wait_for(lambda: is_drained(instance), seconds=60, what="an empty inbox")
    total = sum(one.acknowledged for one in load) + _LINES
    assert sum(one.lost for one in load) > 0
    sums = ask(instance, _SUMS, *(org for _, org in accounts))
    assert sums == {"raw": [total, 3 * total, 2 * total, total], "rollups": [total, 3 * total, 2 * total, total]}


def kill_named(instance: Instance, name: str) -> None:
    """Some name themselves to the kernel alone. They may be on their way back still."""
    wait_for(lambda: bool(_named(instance, name)), seconds=30, what=name)
    for pid in _named(instance, name):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _named(instance: Instance, name: str) -> list[int]:
    found = []
    for pid in instance.left():
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith(name):
                found.append(pid)
        except OSError:
            continue
    return found
