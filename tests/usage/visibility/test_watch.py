"""A shard that is stuck: who notices it, and what is said of it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test import Client

from apps.core import clock
from apps.usage.ingest.inbox import slot_of
from apps.usage.selectors.engine import engine_state
from apps.usage.services import ingest
from apps.usage.watch import watch_drain
from tests.cast import published, trail
from tests.usage.engine.conftest import World, make_world, rows, typed, value
from tests.usage.engine.test_processes import children, start_drain
from tests.waiting import wait_for

NOTHING: dict[str, list[int]] = {"stalled": [], "recovered": []}


def shard_says(number: int, slots: list[int], *, flushed: timedelta | None) -> None:
    """As if a shard had said so."""
    moment = datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_shard WHERE shard = %s", [number])
        cursor.execute(
            "INSERT INTO usage_shard (shard, slots, started_at, seen_at, flushed_at) VALUES (%s, %s, %s, %s, %s)",
            [number, sum(1 << slot for slot in slots), moment, moment, moment - flushed if flushed else None],
        )


def wait_in_slot(slot: int, *, for_: timedelta) -> UUID:
    """Events that wait in a slot for so long already."""
    org = next(org for org in iter(uuid4, None) if slot_of(org) == slot)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_inbox (slot, org_id, received_at, events, frames) VALUES (%s, %s, %s, 7, '')",
            [slot, org, datetime.now(UTC) - for_],
        )
    return org


LONG, SHORT = timedelta(seconds=75), timedelta(seconds=5)


@pytest.mark.django_db
def test_a_stuck_shard_is_told_of_once_and_once_when_it_goes_on() -> None:
    shard_says(0, [0, 2], flushed=SHORT)
    shard_says(1, [1, 3], flushed=LONG)
    wait_in_slot(0, for_=LONG)
    wait_in_slot(3, for_=LONG)
    # At first it may be a drain that has only just been started.
    assert watch_drain() == NOTHING
    assert published("usage.drain_stalled") == []
    assert watch_drain() == {"stalled": [1], "recovered": []}
    wait_in_slot(1, for_=LONG)
    assert [watch_drain(), watch_drain()] == [NOTHING, NOTHING]
    (data,) = published("usage.drain_stalled")
    assert (data["shard"], data["slots"], data["waiting_events"]) == (1, [3], 7)
    assert data["lag_seconds"] >= 75
    shard_says(1, [1, 3], flushed=SHORT)
    assert watch_drain() == {"stalled": [], "recovered": [1]}
    assert watch_drain() == NOTHING
    (data,) = published("usage.drain_recovered")
    assert (data["shard"], data["slots"]) == (1, [3])
    assert len(trail("usage.drain_stalled")) == len(trail("usage.drain_recovered")) == 1


@pytest.mark.django_db
def test_what_passes_by_itself_is_not_told() -> None:
    shard_says(1, [1], flushed=LONG)
    wait_in_slot(1, for_=LONG)
    assert watch_drain() == NOTHING
    rows("DELETE FROM usage_inbox RETURNING 1")
    assert [watch_drain(), watch_drain()] == [NOTHING, NOTHING]
    assert rows("SELECT * FROM usage_stall") == []


@pytest.mark.django_db
def test_a_shard_that_is_late_but_writes_is_not_stuck_nor_is_one_with_nothing_to_do() -> None:
    shard_says(0, [0], flushed=SHORT)
    shard_says(1, [1], flushed=LONG)
    wait_in_slot(0, for_=LONG)
    wait_in_slot(1, for_=SHORT)
    assert [watch_drain(), watch_drain()] == [NOTHING, NOTHING]
    assert Client().get("/health/ready").json()["status"] == "ok"


@pytest.mark.django_db
def test_slots_that_no_drain_works_on_are_told_of_too(settings: Any) -> None:
    settings.USAGE_DRAIN_STALL_SECONDS = 5
    wait_in_slot(4, for_=timedelta(seconds=6))
    assert [watch_drain(), watch_drain()] == [NOTHING, {"stalled": [-1], "recovered": []}]
    assert published("usage.drain_stalled")[0]["shard"] is None


@pytest.mark.django_db
def test_health_says_degraded_and_goes_on_serving() -> None:
    shard_says(1, [1, 3], flushed=LONG)
    wait_in_slot(3, for_=LONG)
    ready = Client().get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    assert ready.json()["checks"]["usage_drain"] == "shard 1 is stuck, with slots 3; 7 events wait"
    health = Client().get("/v1/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["drain"]["stalled_shards"] == [1]


@pytest.mark.django_db
def test_old_books_of_the_day_go() -> None:
    today = clock.now().date()
    for days in (0, 7, 8):
        rows("INSERT INTO usage_day_tally VALUES (%s, %s, '', 1, 1, 0) RETURNING 1", today - timedelta(days), uuid4())
    watch_drain()
    assert [day for (day,) in rows("SELECT day FROM usage_day_tally ORDER BY 1")] == [today - timedelta(7), today]


# ---------------------------------------------------------------------------------------------- with real processes
@pytest.fixture
def drain_process(committed: None) -> Iterator[subprocess.Popen[bytes]]:
    process = start_drain()
    yield process
    for pid in children(process.pid):
        os.kill(pid, signal.SIGCONT)
    process.terminate()
    process.wait(10)


def world_of(shard: int) -> World:
    """An organisation whose events one of two shards counts."""
    return next(made for n in range(50) if slot_of((made := make_world(f"org{shard}-{n}")).org_id) % 2 == shard)


@pytest.mark.processes
def test_a_shard_that_is_stopped_is_noticed_and_so_is_its_going_on(
    drain_process: subprocess.Popen[bytes], settings: Any
) -> None:
    settings.USAGE_DRAIN_STALL_SECONDS = 1
    one, other = world_of(0), world_of(1)
    for made in (one, other):
        ingest(key=made.key, events=[typed(), typed(model="nobody-knows-it")])
    wait_for(lambda: value("SELECT count(*) FROM usage_shard WHERE flushed_at IS NOT NULL") == 2, what="both shards")
    assert sorted(shard.slots for shard in engine_state().shards) == [(0, 2, 4, 6), (1, 3, 5, 7)]
    (second,) = children(drain_process.pid)
    os.kill(second, signal.SIGSTOP)
    ingest(key=other.key, events=[typed()])
    ingest(key=one.key, events=[typed()])
    wait_for(lambda: watch_drain()["stalled"] == [1], what="the alarm")
    assert Client().get("/v1/health").json()["drain"]["stalled_shards"] == [1]
    assert watch_drain() == NOTHING
    os.kill(second, signal.SIGCONT)
    wait_for(lambda: watch_drain()["recovered"] == [1], what="the end of the alarm")
    assert len(published("usage.drain_stalled")) == len(published("usage.drain_recovered")) == 1
    assert value("SELECT sum(events) FROM usage_chunk") == 6
