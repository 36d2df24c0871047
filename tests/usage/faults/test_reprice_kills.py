"""``kill -9`` of a repricing, again and again: in the end it comes to what an undisturbed one does, told once."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from apps.audit.models import AuditEntry
from apps.core.tenancy import system_scope
from apps.usage.contracts import EventIn
from apps.usage.drain import fold
from apps.usage.drain.shard import drain_now
from apps.usage.repricing import reprice, reprice_start
from apps.usage.services import ingest
from tests.processes import ROOT, database_url
from tests.usage.engine.conftest import World, make_world, rows, typed, value
from tests.usage.reprice.test_reprice import set_price
from tests.waiting import wait_for

pytestmark = pytest.mark.processes

# Each is a transaction of the run, so that there is a good deal to break off.
_FLUSHES = 150
_KILLS = 3
_JOB = """
import django
django.setup()
from apps.core.tenancy import system_scope
from apps.usage.repricing import reprice_step
with system_scope("the job"):
    while not reprice_step(seconds=60.0).get("done", 1):
        pass
"""


def events_of(number: int, start: datetime) -> list[EventIn]:
    """Of two sessions, some without a price and some with, over two days."""
    return [
        typed(
            event_id=str(uuid4()), timestamp=(start + timedelta(minutes=11 * number, seconds=n)).isoformat(),
            model="brand-new" if n % 3 else "claude-opus-5", session_id=f"s{number % 2}", input_tokens=100 + number + n,
            output_tokens=7 * n, status="error" if n == 5 else "ok",
        )
        for n in range(6)
    ]  # fmt: skip


def fill(worlds: list[World]) -> None:
    """The same events in each organisation; most of the sums folded, the last ones not."""
    start = datetime.now(UTC) - timedelta(minutes=11 * _FLUSHES + 5)
    for number in range(_FLUSHES):
        for world in worlds:
            assert not ingest(key=world.key, events=events_of(number, start)).rejected
        drain_now()
        if number == _FLUSHES - 20:
            fold.fold_all()


def process(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "mindweave.settings"}
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def looked_at(run_id: UUID) -> int:
    return int(value("SELECT looked_at FROM usage_reprice WHERE id = %s", run_id))


def ended(run_id: UUID) -> bool:
    return value("SELECT state FROM usage_reprice WHERE id = %s", run_id) not in ("queued", "running")


def figures(world: World) -> dict[str, Any]:
    """Costs of an organisation: of its events one by one, of each rollup with what is not folded, of its sessions."""
    org = value("SELECT id FROM usage_org WHERE org_id = %s", world.org_id)
    found: dict[str, Any] = {
        "events": rows(
            "SELECT ts, input_tokens, output_tokens, cost_nano, flags FROM usage_event WHERE org = %s ORDER BY ts, "
            " input_tokens", org,
        ),
        "raw": rows(
            "SELECT sum(cost_nano)::bigint, count(*) FILTER (WHERE flags & 8 > 0) FROM usage_event WHERE org = %s", org
        ),
        "sessions": rows(
            "SELECT coalesce(sum(cost_nano), 0)::bigint FROM (SELECT cost_nano FROM usage_session WHERE org = %s"
            " UNION ALL SELECT cost_nano FROM usage_session_delta WHERE org = %s) s", org, org,
        ),
    }  # fmt: skip
    for grain in ("minute", "quarter", "day"):
        found[grain] = rows(
            f"SELECT sum(cost_nano)::bigint, sum(unpriced)::bigint FROM (SELECT cost_nano, unpriced FROM"
            f" usage_rollup_{grain} WHERE org = %s UNION ALL SELECT cost_nano, unpriced FROM usage_delta"
            " WHERE org = %s) s", org, org,
        )  # fmt: skip
    return found


def progress(run_id: UUID) -> list[tuple[Any, ...]]:
    return rows(
        "SELECT state, looked_at, changed, left_alone, cost_before, cost_after FROM usage_reprice WHERE id = %s", run_id
    )


def by_command(world: World) -> tuple[UUID, Callable[[], subprocess.Popen[bytes]], subprocess.Popen[bytes]]:
    """The run, how to go on with it, and its first process."""
    first = process("manage.py", "reprice", "--org", str(world.org_id), "--model", "brand-new")
    query = "SELECT id FROM usage_reprice WHERE org_id = %s"
    wait_for(lambda: bool(rows(query, world.org_id)), seconds=30, what="a run")
    run_id = value(query, world.org_id)
    return run_id, lambda: process("manage.py", "reprice", "--resume", str(run_id)), first


def by_job(world: World) -> tuple[UUID, Callable[[], subprocess.Popen[bytes]], subprocess.Popen[bytes]]:
    run_id = reprice_start(org_id=world.org_id, model="brand-new")
    return run_id, lambda: process("-c", _JOB), process("-c", _JOB)


@pytest.mark.parametrize("begin", [by_command, by_job])
def test_a_repricing_that_is_killed_comes_to_what_an_undisturbed_one_does(committed: None, begin: Any) -> None:
    worlds = [make_world("killed"), make_world("calm")]
    fill(worlds)
    killed, calm = worlds
    set_price("brand-new")
    run_id, go_on, running = begin(killed)
    kills = 0
    while kills < _KILLS:
        before = looked_at(run_id)
        wait_for(lambda before=before: looked_at(run_id) > before or ended(run_id), seconds=60, what="progress")  # type: ignore[misc]
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        # A slow machine may look again only when all has been looked at.
        if ended(run_id):
            break
        kills += 1
        running = go_on()
    else:
        assert running.wait(120) == 0
    assert kills, "it was killed in the midst of it"
    undisturbed = reprice_start(org_id=calm.org_id, model="brand-new")
    assert reprice(undisturbed)

    assert progress(run_id) == progress(undisturbed)
    assert progress(run_id)[0][:3] == ("completed", 4 * _FLUSHES, 4 * _FLUSHES)
    found, expected = figures(killed), figures(calm)
    assert found == expected
    assert found["raw"] == found["minute"] == found["quarter"] == found["day"]
    assert found["sessions"] == [(found["raw"][0][0],)]
    assert found["raw"][0][1] == 0
    with system_scope("a test looks at the trail"):
        told = list(
            AuditEntry.objects.filter(target_id=str(run_id))
            .order_by("occurred_at", "id")
            .values_list("action", flat=True)
        )
    assert told == ["usage.reprice_started", "usage.repriced"]
