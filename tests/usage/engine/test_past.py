"""What is remembered of the past is what could be read at that moment, whatever changes it."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core import clock
from apps.core.tenancy import org_scope
from apps.usage import store
from apps.usage.drain import fold
from apps.usage.drain.shard import drain_now
from apps.usage.models import Person
from apps.usage.rebuild import check_rollups, rebuild_rollups
from apps.usage.repricing import reprice, reprice_start
from apps.usage.selectors import Metrics, past, usage_aggregate
from apps.usage.services import claim_person, ingest
from tests.usage.engine.conftest import World, moment, rows, typed, value
from tests.usage.reprice.test_reprice import set_price

ZONE = "Europe/Berlin"
GROUPS = ([], ["model"], ["user"], ["project", "model"], ["event_type"], ["user", "status"], ["mcp_tool"])


def send(world: World, *events: Any) -> None:
    assert not ingest(key=world.key_with(scopes=frozenset({"ingest", "backfill"})), events=list(events)).rejected
    drain_now()


def ask(world: World, **how: Any) -> Any:
    """Sums from 70 days ago until tomorrow."""
    today = clock.now().astimezone(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0)
    span = {"start": today - timedelta(days=70), "end": today + timedelta(days=1)}
    answer = usage_aggregate(org_id=world.org_id, timezone=ZONE, org_timezone=ZONE, **{**span, **how})
    return answer.data, answer.totals


def totals(world: World) -> Metrics:
    return ask(world)[1]


@pytest.fixture
def berlin(world: World) -> World:
    from apps.accounts.models import Organization

    Organization.objects.filter(pk=world.org_id).update(timezone=ZONE)
    return world


def some_events(world: World, rng: random.Random, count: int) -> list[Any]:
    """Calls and tool calls of Alice, Bob and nobody over nine weeks, some of them failed."""
    events = []
    for _ in range(count):
        fields: dict[str, Any] = {"timestamp": moment(hours=rng.uniform(0, 24 * 65))}
        if rng.random() < 0.7:
            fields["user_id"] = str(rng.choice((world.alice, world.bob)))
        if rng.random() < 0.3:
            fields |= {"event_type": "mcp_tool", "model": None, "mcp_server": "github", "mcp_tool": rng.choice("ab")}
            fields |= {"input_tokens": None, "output_tokens": None}
        else:
            fields |= {"model": rng.choice(("claude-opus-5", "claude-haiku-4-5", "nobody-knows"))}
        fields |= {"status": rng.choice(("ok", "ok", "error")), "latency_ms": rng.randrange(1, 9000)}
        events.append(typed(**fields))
    return events


@pytest.mark.parametrize("seed", range(3))
def test_cut_remembered_and_by_one_side_all_sums_are_the_same(
    berlin: World, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    send(berlin, *some_events(berlin, rng, 60))
    fold.fold_all()
    send(berlin, *some_events(berlin, rng, 40))
    for granularity in ("none", "day", "week", "month"):
        for group_by in GROUPS:
            how = {"granularity": granularity, "group_by": group_by}
            first, again = ask(berlin, **how), ask(berlin, **how)
            with monkeypatch.context() as patch:
                patch.setattr("apps.usage.selectors.aggregate.parts", lambda start, end, zone: [(start, end, False)])
                patch.setattr("apps.usage.selectors.aggregate._side", lambda grain, names: "both")
                plain = ask(berlin, **how)
            assert first == again == plain
    assert first[1].events == 100


@pytest.mark.parametrize("seed", range(3))
def test_the_tables_of_one_side_agree_with_the_whole_also_compacted_and_rebuilt(berlin: World, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(3):
        send(berlin, *some_events(berlin, rng, 30))
        send(berlin, *(typed(timestamp=moment(minutes=n)) for n in range(20)))
        fold.fold_all()
    fold.compact_days()
    measures = ", ".join(f"sum({name})" for name in store.MEASURES if name != "latency_hist")
    whole = rows(f"SELECT day, {measures} FROM usage_rollup_day GROUP BY day ORDER BY day")
    for table in ("usage_rollup_day_what", "usage_rollup_day_who"):
        assert rows(f"SELECT day, {measures} FROM {table} GROUP BY day ORDER BY day") == whole
    today = clock.now().astimezone(ZoneInfo(ZONE)).date()
    span = {"org_id": berlin.org_id, "first": today - timedelta(days=2), "last": today}
    assert check_rollups(**span) == []
    rebuild_rollups(**span)
    assert check_rollups(**span) == []
    fold.fold_all()
    assert check_rollups(**span) == []


def test_the_past_is_read_once(berlin: World) -> None:
    send(berlin, typed(timestamp=moment(days=20)), typed())

    def read() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert totals(berlin).events == 2
        return sum("usage_rollup_day" in query["sql"] for query in queries.captured_queries)

    assert [read(), read(), read()] == [2, 1, 1]


def test_events_of_today_and_yesterday_leave_it_alone_and_late_ones_do_not(berlin: World) -> None:
    send(berlin, typed())
    assert _version(berlin) == 0
    send(berlin, typed(timestamp=moment(hours=21)))
    assert _version(berlin) == 0
    send(berlin, typed(timestamp=moment(hours=49)))
    assert _version(berlin) == 1


def _late_event(world: World) -> None:
    send(world, typed(timestamp=moment(days=30), model="brand-new"))


def _new_price(world: World) -> None:
    set_price(org_id=world.org_id)
    assert reprice(reprice_start(org_id=world.org_id))


def _claim(world: World) -> None:
    with org_scope(world.org_id):
        person = Person.objects.get()
    claim_person(org_id=world.org_id, person_id=person.id, user_id=world.alice)


def _rebuild(world: World) -> None:
    rows("UPDATE usage_rollup_day_what SET input_tokens = input_tokens + 1 RETURNING 1")
    rows("UPDATE usage_rollup_day SET input_tokens = input_tokens + 1 RETURNING 1")
    rows("UPDATE usage_org SET past_version = past_version + 1 RETURNING 1")
    wrong = totals(world).input_tokens
    day = (clock.now() - timedelta(days=3)).astimezone(ZoneInfo(ZONE)).date()
    rebuild_rollups(org_id=world.org_id, first=day, last=day)
    assert totals(world).input_tokens == wrong - 1


@pytest.mark.parametrize("change", [_late_event, _new_price, _claim, _rebuild])
def test_whatever_changes_the_past_is_seen_at_once(berlin: World, change: Callable[[World], None]) -> None:
    unknown = UUID(int=7)
    events = [typed(timestamp=moment(days=30), model="brand-new"), typed(timestamp=moment(days=3), model="brand-new")]
    send(berlin, *events)
    rows(f"INSERT INTO usage_person (id, org_id, email, name) VALUES ('{unknown}', '{berlin.org_id}', 'x@y.z', 'X')"
         " RETURNING 1")  # fmt: skip
    rows(f"UPDATE usage_who SET person_id = '{unknown}' RETURNING 1")
    fold.fold_all()
    before = ask(berlin, group_by=["user", "model"])
    version = _version(berlin)
    change(berlin)
    assert _version(berlin) > version
    if change is _rebuild:
        return
    after = ask(berlin, group_by=["user", "model"])
    assert after != before
    if change is _claim:
        assert {row.group["user"] for row in after[0]} == {str(berlin.alice)}
    if change is _new_price:
        assert (before[1].unpriced, after[1].unpriced) == (2, 0)


def test_another_organisations_past_is_its_own(berlin: World) -> None:
    from tests.usage.engine.conftest import make_world

    other = make_world("other")
    send(berlin, typed(timestamp=moment(days=20)))
    send(other, typed(timestamp=moment(days=20)), typed(timestamp=moment(days=21)))
    assert totals(berlin).events == 1
    assert usage_aggregate(
        org_id=other.org_id, timezone="UTC", org_timezone="UTC", start=clock.now().replace(
            hour=0, minute=0, second=0, microsecond=0) - timedelta(days=30),
        end=clock.now().replace(hour=0, minute=0, second=0, microsecond=0),
    ).totals.events == 2  # fmt: skip


def test_a_question_whose_answer_is_too_long_is_refused_not_cut(berlin: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from apps.core.errors import ValidationFailed

    send(berlin, *(typed(timestamp=moment(days=n)) for n in range(10)))
    monkeypatch.setattr("apps.usage.selectors.aggregate.MAX_ROWS", 5)
    with pytest.raises(ValidationFailed, match="more than 5 rows"):
        ask(berlin, granularity="day")


def _version(world: World) -> int:
    return int(value(f"SELECT past_version FROM usage_org WHERE org_id = '{world.org_id}'"))


def test_what_is_remembered_is_compact(berlin: World) -> None:
    send(berlin, *(typed(timestamp=moment(days=20), latency_ms=500) for _ in range(50)))
    fold.fold_all()
    org = store.org_state(berlin.org_id)
    assert org is not None
    sql = "SELECT NULL, " + ", ".join(["1"] * len(past.SUMS)) + ", string_agg(latency_hist, ''::bytea)"
    sql += " FROM usage_rollup_minute WHERE org = %(org)s"
    (row,) = past.past_rows(sql, {"org": org.number}, org.past)
    assert len(row.latencies) == 4
