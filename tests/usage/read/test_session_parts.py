"""A session over several projects: each project's part of it is exact, whatever the order of events and of folding."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from apps.core.money import nano_to_str
from apps.projects.services import create_project
from apps.usage.drain import fold
from apps.usage.drain.shard import drain_now
from apps.usage.repricing import reprice, reprice_start
from apps.usage.selectors.raw import event_search
from apps.usage.selectors.sessions import session_get, session_list
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, typed, value
from tests.usage.reprice.test_reprice import set_price

IDLE = timedelta(minutes=30)


def shown(bodies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a session of these events has to say."""
    costs = [body["cost_usd"] for body in bodies if body["cost_usd"] is not None]
    times = sorted(body["timestamp"] for body in bodies)
    return {
        "events": len(bodies),
        "input_tokens": sum(body["input_tokens"] for body in bodies),
        "errors": sum(body["status"] == "error" for body in bodies),
        "cost_usd": nano_to_str(sum(round(float(cost) * 10**9) for cost in costs)),
        "models": sorted({body["model"] for body in bodies}),
        "started_at": times[0],
        "last_at": times[-1],
    }


def check(world: World, projects: list[str]) -> None:
    """Each set of projects sees of each session the sums of exactly their events."""
    bodies = [row.body for row in event_search(org_id=world.org_id, filters={}, limit=10_000)]
    for mine in [[one] for one in projects] + [projects[:2], None]:
        expected: dict[str, list[dict[str, Any]]] = {}
        for body in bodies:
            if mine is None or body["project_id"] in mine:
                expected.setdefault(body["session_id"], []).append(body)
        rows = session_list(
            org_id=world.org_id, filters={} if mine is None else {"project": mine}, limit=50, idle=IDLE, projects=mine
        )
        assert [row.at for row in rows] == sorted((row.at for row in rows), reverse=True)
        assert {row.body["session_id"]: told(row.body) for row in rows} == {
            name: shown(events) for name, events in expected.items()
        }
        for name in {body["session_id"] for body in bodies}:
            one = session_get(org_id=world.org_id, session_id=name, idle=IDLE, projects=mine)
            assert (told(one.body) if one else None) == (shown(expected[name]) if name in expected else None)
            assert one is None or mine is None or one.body["project_id"] in mine


def told(body: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: body["metrics"][name] for name in ("events", "input_tokens", "errors", "cost_usd")},
        **{name: body[name] for name in ("models", "started_at", "last_at")},
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_each_project_sees_its_part_of_a_session_and_all_together_the_whole(db: None, seed: int) -> None:
    rng = Random(seed)
    world = make_world()
    ids = [world.project_id, *(create_project(org_id=world.org_id, name=name).id for name in ("Other", "Third"))]
    projects = [str(one) for one in ids]
    start = datetime.now(UTC) - timedelta(hours=5)
    for _ in range(14):
        for project in rng.sample(ids, rng.choice([1, 2])):
            events = [
                typed(
                    session_id=f"session-{rng.randrange(4)}", model=rng.choice(["claude-opus-5", "brand-new"]),
                    user_id=str(rng.choice([world.alice, world.bob])), input_tokens=rng.randrange(1000),
                    status=rng.choice(["ok", "error"]),
                    timestamp=(start + timedelta(seconds=rng.randrange(3600 * 4))).isoformat(),
                )
                for _ in range(rng.choice([1, 3]))
            ]  # fmt: skip
            assert not ingest(key=world.key_with(project_id=project), events=events).rejected
        drain_now()
        if rng.random() < 0.5:
            fold.fold_sessions()
        check(world, projects)
    fold.fold_all()
    assert value("SELECT count(DISTINCT session) FROM usage_session_part") > 1
    assert value(
        "SELECT count(*) FROM (SELECT session, sum(events) AS events FROM usage_session_part GROUP BY session) p"
        " JOIN usage_session s ON s.id = p.session WHERE s.events <> p.events"
    ) == 0  # fmt: skip
    set_price()
    assert reprice(reprice_start(model="brand-new"))
    check(world, projects)
    fold.fold_all()
    check(world, projects)


def test_a_session_of_one_project_has_no_parts_however_many_people_are_in_it(db: None) -> None:
    world = make_world()
    for person in (world.alice, world.bob, world.alice):
        ingest(key=world.key, events=[typed(session_id="one", user_id=str(person))])
        drain_now()
        fold.fold_all()
    assert value("SELECT mixed FROM usage_session") == 1
    assert value("SELECT count(*) FROM usage_session_part") == 0
