"""The drain as real processes, killed in mid-load: nothing is lost, nothing counts twice."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection

from apps.usage import store
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, moment, rows, typed, value
from tests.waiting import wait_for

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[3]


def start_drain(shards: int = 2) -> subprocess.Popen[bytes]:
    """The command as the supervisor starts it, on the test's database."""
    database = connection.settings_dict
    host = quote(str(database["HOST"]), safe="")
    url = f"postgres://{database['USER']}@{host}/{database['NAME']}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "MINDWEAVE_ENV": "development",
        "SECRET_KEY": settings.SECRET_KEY,
        "USAGE_DEDUPE_FILTER_BYTES": "1048576",
        # The drain must not need Redis.
        "REDIS_URL": "unix:///nowhere/redis.sock",
    }
    return subprocess.Popen(
        [sys.executable, "manage.py", "drain", "--shards", str(shards)],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
    )


@contextmanager
def draining(*shards: int) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """A drain that is started anew whenever it ends, each time with the next number of ``shards``, over and over.

    Yields a way to get at the present one.
    """
    numbers = cycle(shards)
    current = [start_drain(next(numbers))]
    ended = threading.Event()

    def supervise() -> None:
        while not ended.wait(0.02):
            if current[0].poll() is not None:
                current[0] = start_drain(next(numbers))

    thread = threading.Thread(target=supervise)
    thread.start()
    try:
        yield lambda: current[0]
    finally:
        ended.set()
        thread.join()
        current[0].terminate()
        current[0].wait(10)


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def test_kill_9_in_mid_load_loses_and_doubles_nothing(committed: None) -> None:
    worlds = [make_world(f"org{n}") for n in range(5)]
    kills, sent = 0, {world.org_id: 0 for world in worlds}
    ids: dict[object, list[str]] = {world.org_id: [] for world in worlds}
    # An id is known to whichever shard its organisation is with after a start.
    with draining(2, 1, 2, 3) as drain:
        wait_for(lambda: len(children(drain().pid)) > 0, what="the second shard")
        end = time.monotonic() + 6
        next_kill = time.monotonic() + 1.5
        turn = 0
        while time.monotonic() < end:
            turn += 1
            world = worlds[turn % len(worlds)]
            again = ids[world.org_id][turn % 30 :: 30]
            fresh = [str(uuid4()) for _ in range(100)]
            events = [typed(event_id=i, input_tokens=1) for i in fresh]
            # Old ids with another timestamp and other figures.
            events += [typed(event_id=i, input_tokens=10**6, timestamp=moment(hours=2)) for i in again]
            ingest(key=world.key, events=events)
            sent[world.org_id] += len(fresh)
            ids[world.org_id] += fresh
            if time.monotonic() > next_kill:
                # In turn the first process, which takes the other with it, and the other, which the first notices.
                victims = (children(drain().pid) if kills % 2 else []) or [drain().pid]
                for pid in victims:
                    os.kill(pid, signal.SIGKILL)
                kills += 1
                next_kill = time.monotonic() + 1.5
        wait_for(lambda: store.inbox_state().batches == 0, seconds=60, what="an empty inbox")
    assert kills >= 3
    total = sum(sent.values())
    assert rows("SELECT count(*), count(DISTINCT (org, event_id)), sum(input_tokens) FROM usage_event") == [
        (total,) * 3
    ]
    sums = "SELECT sum(events), sum(input_tokens) FROM (SELECT events, input_tokens FROM usage_delta UNION ALL"
    assert rows(f"{sums} SELECT events, input_tokens FROM usage_rollup_quarter) s") == [(total, total)]
    by_org = dict(rows("SELECT org, count(*) FROM usage_event GROUP BY org"))
    assert by_org == {store.org_number(world.org_id): sent[world.org_id] for world in worlds}
    # And what was counted before the kills is still known after them.
    after: World = worlds[0]
    with draining(1):
        ingest(key=after.key, events=[typed(event_id=i, timestamp=moment(days=1)) for i in ids[after.org_id]])
        wait_for(lambda: store.inbox_state().batches == 0, seconds=60, what="an empty inbox")
    assert value("SELECT count(*) FROM usage_event") == total


def test_sigterm_ends_it_in_good_order(committed: None) -> None:
    world = make_world("quiet")
    process = start_drain()
    try:
        ingest(key=world.key, events=[typed()])
        wait_for(lambda: store.inbox_state().batches == 0, what="an empty inbox")
        shards = children(process.pid)
        process.terminate()
        assert process.wait(10) == 0
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in shards), what="the end of the shards")
    finally:
        process.kill()


def test_two_drains_never_work_on_the_same_slots(committed: None) -> None:
    world = make_world("twice")
    first = start_drain()
    second = start_drain(shards=1)
    try:
        for _ in range(30):
            ingest(key=world.key, events=[typed() for _ in range(20)])
        wait_for(lambda: store.inbox_state().batches == 0, what="an empty inbox")
        assert value("SELECT count(*) FROM usage_event") == 600
        assert first.poll() is None
        assert second.poll() is None
    finally:
        for process in (first, second):
            process.terminate()
            process.wait(10)
