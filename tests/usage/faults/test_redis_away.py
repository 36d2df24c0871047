"""Redis silent for seconds, then gone for seconds, under load: nobody waits for it, and all works once it is back.

A Redis that keeps its connections and does not answer (stopped, its machine overloaded, a network that swallows) is
worse than one that is gone: whoever waits without a bound waits for ever.
"""

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from apps.core.dev.servers import Server, start_redis
from tests.runtime.instance import Instance
from tests.usage.faults.test_kills import _MAKE, _SUMS, Load, ask, goes_on, is_drained
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

# Nothing may take as long.
_PATIENCE = 10
_JOBS = """
import json
import sys
import time
from datetime import datetime
from apps.core.dev.environment import enter
enter()
import django
django.setup()
from apps.core.tenancy import system_scope
from apps.scheduler.models import JobRun
runs = JobRun.objects.filter(job="usage.watch", status="succeeded", trigger="clock",
                             started_at__gt=datetime.fromisoformat(sys.argv[1]))
with system_scope("a test looks"):
    end = time.monotonic() + 45
    while not runs.exists() and time.monotonic() < end:
        time.sleep(0.2)
    print(json.dumps(runs.exists()))
"""


class Cache:
    """A Redis of the test's own, which no supervisor starts again."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.server: Server = start_redis(data_dir, durable=False)

    def silence(self) -> None:
        os.kill(self.server.process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        self.server.process.kill()
        self.server.process.wait()

    def start(self) -> None:
        self.server = start_redis(self.data_dir, durable=False)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    made = Cache(tmp_path / "cache")
    yield made
    made.kill()


@pytest.fixture
def instance(tmp_path: Path, cache: Cache) -> Iterator[Instance]:
    made = Instance(tmp_path / "data", REDIS_URL=cache.server.url)
    made.start(arguments=("--json", "--no-demo")).ready()
    yield made
    made.clear()


class Tail(threading.Thread):
    """Counts the events that a live socket shows."""

    def __init__(self, instance: Instance, token: str) -> None:
        super().__init__(daemon=True)
        self.shown, self.error = 0, ""
        self.socket: ClientConnection = connect(
            f"ws://127.0.0.1:{instance.port}/ws/usage/events", additional_headers={"Authorization": f"Bearer {token}"},
            open_timeout=_PATIENCE,
        )  # fmt: skip
        self.start()

    def run(self) -> None:
        try:
            for message in self.socket:
                said = json.loads(message)
                if said["type"] == "events":
                    self.shown += len(said["data"]) + said["dropped"]
        except Exception as error:
            self.error = str(error)

    def goes_on(self) -> None:
        before = self.shown
        wait_for(lambda: self.shown > before or bool(self.error), seconds=30, what="events on a live socket")
        assert not self.error


def call(instance: Instance, path: str, token: str = "", body: Any = None) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(instance.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def answers(instance: Instance, token: str, org_id: str, *, redis: str) -> None:
    """Every kind of request that asks Redis for something is answered: limits, cache, tasks, refusals."""
    status, body = call(instance, "/health/ready")
    assert status == 200
    assert json.loads(body)["checks"]["redis"] == redis
    for path in ("/login", "/v1/health", "/metrics"):
        assert call(instance, path)[0] == 200, path
    for path in ("/v1/events?limit=5", "/v1/sessions?limit=5", f"/orgs/{org_id}/usage", "/analytics/usage"):
        assert call(instance, path, token)[0] == 200, path
    login = {"email": "nobody@example.com", "password": "not the right one"}
    assert [call(instance, "/auth/login", body=login)[0] for _ in range(3)] == [401] * 3
    # A task is sent for it, best effort.
    assert call(instance, "/auth/forgot", body={"email": "nobody@example.com"})[0] == 202
    # What the key may not do is refused, and the refusal noted.
    assert call(instance, "/audit", token)[0] == 403


def unlimited(instance: Instance) -> float:
    found = call(instance, "/metrics")[1].decode()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in found.splitlines()
        if line.startswith("mindweave_ratelimit_unlimited_total")
    )


def lines(instance: Instance, *names: str) -> int:
    log = instance.data_dir / "log"
    return sum(len((log / f"{name}.log").read_text(errors="replace").splitlines()) for name in names)


def job_after(instance: Instance, moment: datetime) -> bool:
    """Whether a job by the clock begins after this moment and goes well; waits for it."""
    return bool(ask(instance, _JOBS, moment.isoformat()))


def test_redis_silent_and_then_gone_keeps_nobody_waiting(instance: Instance, cache: Cache) -> None:
    accounts = ask(instance, _MAKE)
    token, org_id = accounts[0]
    load = [Load(instance.url, token, pause=0.03) for token, _ in accounts]
    for one in load:
        one.start()
    goes_on(load)
    tails = [Tail(instance, token)]
    tails[0].goes_on()
    answers(instance, token, org_id, redis="ok")
    said, passed = lines(instance, "web", "bus", "drain"), unlimited(instance)
    for take_away in (cache.silence, cache.kill):
        take_away()
        for _ in range(3):
            goes_on(load)
            answers(instance, token, org_id, redis="away")
        # One that was open, and one that is opened meanwhile.
        tails.append(Tail(instance, token))
        for tail in tails:
            tail.goes_on()
    assert unlimited(instance) > passed, "limits let everything pass, and it is counted"
    # Once where it began, and once in half a minute, in each process; and each task that could not be sent.
    assert lines(instance, "web", "bus", "drain") - said < 40
    beside = "".join((instance.data_dir / "log" / f"{name}.log").read_text() for name in ("realtime", "beat"))
    assert "Traceback" not in beside
    cache.start()
    back = datetime.now().astimezone()
    wait_for(lambda: json.loads(call(instance, "/health/ready")[1])["checks"]["redis"] == "ok", what="Redis")
    goes_on(load)
    answers(instance, token, org_id, redis="ok")
    for tail in tails:
        tail.goes_on()
    # Celery's clock and workers find it again by themselves.
    wait_for(lambda: job_after(instance, back), seconds=60, what="a job by the clock")
    for one in load:
        one.done.set()
    for one in load:
        one.join(60)
    wait_for(lambda: is_drained(instance), seconds=60, what="an empty inbox")
    assert sum(one.lost for one in load) == 0, "each batch was acknowledged at its first try"
    total = sum(one.acknowledged for one in load)
    sums = ask(instance, _SUMS, *(org for _, org in accounts))
    assert sums == {"raw": [total, 3 * total, 2 * total, total], "rollups": [total, 3 * total, 2 * total, total]}
