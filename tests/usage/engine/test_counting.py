"""From the inbox to the sums: each event once, at its minute, in rollups that equal the raw rows."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.core import clock
from apps.core.tenancy import system_scope
from apps.events.models import OutboxEvent
from apps.usage import store
from apps.usage.drain import fold
from apps.usage.drain.shard import Drainer, drain_now
from apps.usage.errors import InboxFull
from apps.usage.histogram import percentiles
from apps.usage.ingest.inbox import SLOTS
from apps.usage.services import ingest
from tests.emptying import empty_engine
from tests.usage.engine.conftest import World, make_world, moment, rows, typed, value

MEASURES = (
    "sum(events), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_5m_tokens),"
    " sum(cache_write_1h_tokens), sum(cost_nano), sum(reported_nano), sum(unpriced), sum(latency_count),"
    " sum(latency_ms)"
)
RAW_SUMS = (
    "SELECT count(*), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_5m_tokens),"
    " sum(cache_write_1h_tokens), sum(cost_nano), sum(reported_nano), count(*) FILTER (WHERE flags & 8 <> 0),"
    " count(*) FILTER (WHERE latency_ms >= 0), sum(latency_ms) FILTER (WHERE latency_ms >= 0) FROM usage_event"
)


def send(world: World, *events: Any, **options: Any) -> None:
    assert ingest(key=options.pop("key", world.key), events=list(events), **options).accepted == len(events)


def counted() -> int:
    return int(value("SELECT count(*) FROM usage_event"))


def summed() -> int:
    return int(value("SELECT coalesce(sum(events), 0) FROM usage_delta"))


def test_what_is_accepted_is_counted_and_leaves_the_inbox(world: World) -> None:
    send(world, *(typed() for _ in range(5)))
    drain_now()
    assert (counted(), summed(), store.inbox_state().events) == (5, 5, 0)


def test_the_same_batch_again_counts_nothing(world: World) -> None:
    events = [typed() for _ in range(50)]
    for _ in range(3):
        send(world, *events)
    drain_now()
    send(world, *events)
    drain_now()
    assert (counted(), summed()) == (50, 50)


def test_an_id_counts_once_whatever_its_timestamp_says(world: World) -> None:
    ids = [str(uuid4()) for _ in range(20)]
    send(world, *(typed(event_id=i, input_tokens=1) for i in ids))
    drain_now()
    send(world, *(typed(event_id=i, timestamp=moment(days=3), input_tokens=1000) for i in ids))
    send(world, *(typed(event_id=i.upper(), timestamp=moment(seconds=5), input_tokens=1000) for i in ids))
    drain_now()
    assert (counted(), value("SELECT sum(input_tokens) FROM usage_delta")) == (20, 20)


def test_the_first_of_two_in_one_flush_counts(world: World) -> None:
    same = str(uuid4())
    send(world, typed(event_id=same, input_tokens=7))
    send(world, typed(event_id=same, input_tokens=8), typed())
    drain_now()
    assert (counted(), value("SELECT input_tokens FROM usage_event WHERE event_id = %s", same)) == (2, 7)


def test_another_organisation_may_use_the_same_ids(world: World) -> None:
    other = make_world("globex")
    ids = [str(uuid4()) for _ in range(30)]
    for owner in (world, other, world, other):
        send(owner, *(typed(event_id=i) for i in ids))
        drain_now()
    assert rows("SELECT org, count(*) FROM usage_event GROUP BY org ORDER BY org") == [
        (store.org_number(world.org_id), 30), (store.org_number(other.org_id), 30)
    ]  # fmt: skip


def test_ids_are_remembered_for_eight_days_across_stripes_and_then_forgotten(world: World) -> None:
    same = str(uuid4())
    start = datetime(2026, 11, 1, 23, 59, tzinfo=UTC)
    drainer = None
    for hours in (0, 1, 27, 28, 29, 100, 168, 191):
        with clock.freeze(start + timedelta(hours=hours)) as at:
            send(world, typed(event_id=same, timestamp=at.isoformat()), typed(timestamp=at.isoformat()))
            if drainer is None or hours == 100:  # a restart in between
                drainer = Drainer(range(SLOTS))
                drainer.load()
            while drainer.step():
                pass
    assert value("SELECT sum(events) FROM usage_delta WHERE minute < '2026-11-02'") == 2
    assert summed() == 1 + 8
    with clock.freeze(start + timedelta(days=10)) as at:
        from apps.usage.drain.dedupe import drop_segments
        from apps.usage.drain.filter import stripe_at

        assert drop_segments(stripe_at(at.timestamp())) > 0
        send(world, typed(event_id=same, timestamp=at.isoformat()))
        assert drainer is not None
        while drainer.step():
            pass
    assert summed() == 1 + 8 + 1


def test_late_events_land_in_their_own_minute(world: World) -> None:
    at = [moment(days=6), moment(hours=1), moment()]
    send(world, *(typed(timestamp=t) for t in at))
    drain_now()
    minutes = [row[0] for row in rows("SELECT minute FROM usage_delta ORDER BY minute")]
    assert minutes == [datetime.fromisoformat(t).replace(second=0, microsecond=0) for t in at]


def test_what_is_older_than_the_retention_is_summed_and_not_kept(world: World) -> None:
    key = world.key_with(scopes=frozenset({"ingest", "backfill"}))
    send(world, typed(timestamp=moment(days=100)), typed(timestamp=moment(days=9)), typed(), key=key)
    drain_now()
    assert (counted(), summed()) == (1, 3)
    fold.fold_all()
    assert value("SELECT sum(events) FROM usage_rollup_day") == 3
    assert value("SELECT sum(events) FROM usage_rollup_minute") == 2


def test_a_row_lies_in_the_partition_of_the_day_that_drops_it(world: World) -> None:
    send(world, typed(timestamp=moment(days=2)))
    drain_now()
    drop_on, table = rows("SELECT drop_on, chunk FROM usage_event")[0]
    assert drop_on == (datetime.now(UTC) - timedelta(days=2)).date() + timedelta(days=8)
    assert table == f"usage_chunk_p{drop_on:%Y%m%d}"


def test_retention_drops_whole_partitions(world: World) -> None:
    send(world, typed(timestamp=moment(days=2)), typed())
    drain_now()
    with clock.freeze(datetime.now(UTC) + timedelta(days=6)):
        fold.keep_partitions()
    assert counted() == 1


event_shapes = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["claude-opus-5", "claude-sonnet-5-5", "claude-fable-5-2", "some-other-model", None]),
        "event_type": st.sampled_from(["api_call", "mcp_tool", "session"]),
        "input_tokens": st.integers(0, 300_000),
        "output_tokens": st.integers(0, 5_000),
        "cache_read_input_tokens": st.integers(0, 9_000),
        "cache_creation_input_tokens": st.integers(0, 9_000),
        "latency_ms": st.one_of(st.none(), st.integers(0, 100_000)),
        "cost_usd": st.one_of(st.none(), st.floats(0, 5), st.sampled_from(["0.5", 3])),
        "status": st.sampled_from(["ok", "error"]),
        "session_id": st.one_of(st.none(), st.sampled_from(["a", "b", "c"])),
        "mcp_tool": st.sampled_from([None, "read", "write"]),
        "ago": st.integers(0, 6 * 86_400),
        "again": st.booleans(),
    }
)


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(event_shapes, min_size=1, max_size=60), seed=st.integers(0, 1000))
def test_rollups_equal_the_raw_rows_in_every_grain(world: World, shapes: list[dict[str, Any]], seed: int) -> None:
    rows_before = rows(RAW_SUMS + " WHERE false")
    assert rows_before
    empty_engine()
    rng = random.Random(seed)
    events = []
    for shape in shapes:
        fields = dict(shape)
        ago, again = fields.pop("ago"), fields.pop("again")
        one = typed(timestamp=moment(seconds=ago), **fields)
        events += [one, one] if again else [one]
    rng.shuffle(events)
    for start in range(0, len(events), 7):
        ingest(key=world.key, events=events[start : start + 7])
        if rng.random() < 0.5:
            drain_now()
    drain_now()
    raw = tuple(int(v or 0) for v in rows(RAW_SUMS)[0])
    assert raw[0] == len(shapes)
    assert raw == tuple(int(v or 0) for v in rows(f"SELECT {MEASURES} FROM usage_delta")[0])
    by_what = "SELECT what, sum({}), sum(cost_nano) FROM {} GROUP BY what ORDER BY what"
    expected = rows(by_what.format("1", "usage_event"))
    number = store.org_number(world.org_id)
    if rng.random() < 0.5:
        fold.tighten_deltas(clock.now() - timedelta(days=9), clock.now() + timedelta(days=1), least=0, much=2)
    if rng.random() < 0.7:
        fold.fold_rollups(limit=rng.randrange(1, 20), before=clock.now() + timedelta(days=1))
    start_day, end_day = (clock.now() - timedelta(days=9)).date(), (clock.now() + timedelta(days=2)).date()
    for grain in ("minute", "quarter", "day"):
        sql = f"SELECT what, sum(events), sum(cost_nano) FROM {store.rollup_sql(grain)} s GROUP BY what ORDER BY what"
        with connection.cursor() as cursor:
            cursor.execute(sql, {"org": number, "start": start_day, "end": end_day})
            assert cursor.fetchall() == expected
    fold.fold_all()
    for table in ("usage_rollup_minute", "usage_rollup_quarter", "usage_rollup_day"):
        assert raw == tuple(int(v or 0) for v in rows(f"SELECT {MEASURES} FROM {table}")[0])
    sessions = rows(
        "SELECT sum(events), sum(calls), sum(tool_calls), sum(errors), sum(cost_nano), min(started_at)"
        " FROM usage_session"
    )
    assert sessions == rows(
        "SELECT count(*), count(*) FILTER (WHERE w.event_type = 'api_call'),"
        " count(*) FILTER (WHERE w.event_type = 'mcp_tool'), count(*) FILTER (WHERE w.status = 'error'),"
        " sum(cost_nano), min(ts) FROM usage_event e JOIN usage_what w ON w.id = e.what WHERE session <> 0"
    ) or not value("SELECT count(*) FROM usage_event WHERE session <> 0")


def test_folding_twice_and_compacting_changes_no_sum(world: World) -> None:
    for _ in range(3):
        send(world, *(typed(timestamp=moment(hours=1, seconds=n), latency_ms=n * 10) for n in range(40)))
        drain_now()
        fold.fold_all()
    before = rows(f"SELECT {MEASURES} FROM usage_rollup_quarter")
    merged = b"".join(bytes(row[0]) for row in rows("SELECT latency_hist FROM usage_rollup_quarter"))
    assert fold.compact_quarters() > 0
    assert rows(f"SELECT {MEASURES} FROM usage_rollup_quarter") == before
    again = b"".join(bytes(row[0]) for row in rows("SELECT latency_hist FROM usage_rollup_quarter"))
    assert percentiles(again, [0.5, 0.95]) == percentiles(merged, [0.5, 0.95])
    assert fold.compact_quarters() == 0
    assert fold.compact_days() > 0
    assert value("SELECT sum(events) FROM usage_rollup_day") == 120


def test_days_follow_the_organisations_time_zone(world: World) -> None:
    from apps.accounts.models import Organization

    Organization.objects.filter(pk=world.org_id).update(timezone="Pacific/Auckland")
    at = datetime.now(UTC).replace(hour=12, minute=30, second=0, microsecond=0) - timedelta(days=1)
    send(world, typed(timestamp=at.isoformat()))
    drain_now()
    fold.fold_all()
    assert value("SELECT day FROM usage_rollup_day") == at.date() + timedelta(days=1)


def test_a_session_is_what_its_events_add_up_to(world: World) -> None:
    start, end = moment(minutes=30), moment(minutes=1)
    send(world, typed(session_id="s1", timestamp=end, model="claude-haiku-4-5", status="error"))
    drain_now()
    fold.fold_all()
    send(
        world,
        typed(session_id="s1", timestamp=start, cache_read_input_tokens=5),
        typed(session_id="s1", event_type="mcp_tool", model=None, mcp_tool="read", timestamp=moment(minutes=10)),
        typed(session_id="s2"),
        typed(),
    )
    drain_now()
    number = store.org_number(world.org_id)
    live = rows(
        f"SELECT session_id, models, started_at, last_at, events, calls, tool_calls, errors, cache_read_tokens"
        f" FROM {store.session_sql().replace('%(org)s', str(number))} s ORDER BY session_id"
    )
    fold.fold_all()
    folded = rows(
        "SELECT session_id, models, started_at, last_at, events, calls, tool_calls, errors, cache_read_tokens"
        " FROM usage_session ORDER BY session_id"
    )
    first, last = datetime.fromisoformat(start), datetime.fromisoformat(end)
    assert live == folded
    assert folded[0] == ("s1", ["claude-haiku-4-5", "claude-opus-5"], first, last, 3, 2, 1, 1, 5)
    assert [row[0] for row in folded] == ["s1", "s2"]


def test_a_flush_tells_the_bus_once_for_each_organisation(world: World) -> None:
    other = make_world("globex")
    send(world, *(typed(user_id=str(world.alice), cost_usd="0.25", model="unheard-of") for _ in range(3)))
    send(world, typed(event_type="mcp_tool", model=None, mcp_server="github", mcp_tool="read"))
    send(other, typed())
    drain_now()
    with system_scope("test"):
        told = {e.org_id: e.envelope["data"] for e in OutboxEvent.objects.filter(type="usage.batch_ingested")}
    assert set(told) == {world.org_id, other.org_id}
    data = told[world.org_id]
    assert (data["events"], data["calls"], data["tool_calls"], data["cost_usd"]) == (4, 3, 1, "0.750000000")
    assert (data["models"], data["mcp_servers"], data["people"]) == (["unheard-of"], ["github"], [str(world.alice)])
    assert data["projects"] == [str(world.project_id)]
    assert len(data["minutes"]) in (1, 2)


def test_as_of_waits_for_the_oldest_event_of_the_organisation(world: World) -> None:
    other = make_world("globex")
    received = clock.now() - timedelta(seconds=30)
    ingest(key=world.key, events=[typed()], received_at=received)
    assert store.as_of(world.org_id) == received
    assert store.as_of(other.org_id) > received
    drain_now()
    assert store.as_of(world.org_id) > received + timedelta(seconds=29)


def test_a_flush_whose_inbox_rows_are_gone_writes_nothing(world: World) -> None:
    from apps.usage.drain.flush import prepare

    send(world, typed())
    drainer = Drainer(range(SLOTS))
    drainer.load()
    flush = prepare(drainer.take(), drainer.dims, drainer.index)
    drain_now()
    assert counted() == 1
    with pytest.raises(RuntimeError, match="another process"):
        drainer.write(flush)
    assert (counted(), summed()) == (1, 1)


def test_a_flush_takes_so_many_bytes_and_one_batch_at_least(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        send(world, typed(metadata=msgspec.Raw(b"{%s}" % (b" " * 2000))))
    monkeypatch.setattr("apps.usage.drain.shard.MAX_FLUSH_BYTES", 5000)
    drainer = Drainer(range(SLOTS))
    assert [len(drainer.take()) for _ in range(3)] == [2, 1, 0]
    monkeypatch.setattr("apps.usage.drain.shard.MAX_FLUSH_BYTES", 1)
    assert len(Drainer(range(SLOTS)).take()) == 1


@pytest.mark.parametrize("name", ["usage_event", "usage_delta"])
def test_costs_are_kept_beside_what_the_sender_reported(world: World, name: str, drain: Callable[[], None]) -> None:
    send(
        world,
        typed(model="claude-opus-5", input_tokens=1000, output_tokens=100, cost_usd="0.5"),
        typed(model="unheard-of", cost_usd=0.25),
        typed(model="unheard-of"),
        typed(event_type="session", model=None),
    )
    drain()
    cost, reported = rows(f"SELECT sum(cost_nano), sum(reported_nano) FROM {name}")[0]
    assert (cost, reported) == (7_500_000 + 250_000_000, 750_000_000)
    assert value("SELECT sum(unpriced) FROM usage_delta") == 1
    assert rows("SELECT flags, count(*) FROM usage_event GROUP BY flags ORDER BY flags") == [
        (0, 1),
        (3, 1),
        (6, 1),
        (8, 1),
    ]


def test_summaries_of_several_flushes_are_one_event_and_told_once(world: World) -> None:
    from apps.usage.drain.announce import announce

    drainer = Drainer(range(SLOTS))
    drainer.load()
    for number in range(3):
        send(world, typed(model=f"model-{number}", cost_usd="0.1"), typed(event_type="mcp_tool", model=None))
        assert drainer.step() == 1
    assert announce() == 1
    assert announce() == 0
    with system_scope("test"):
        (event,) = OutboxEvent.objects.filter(type="usage.batch_ingested")
    data = event.envelope["data"]
    assert (data["events"], data["calls"], data["tool_calls"], data["cost_usd"]) == (6, 3, 3, "0.300000000")
    assert data["models"] == ["model-0", "model-1", "model-2"]


def test_a_model_without_a_price_is_told_of_once_an_hour(world: World) -> None:
    for _ in range(2):
        send(world, typed(model="unheard-of"), typed(model="unheard-of"), typed())
        drain_now()
    with system_scope("test"):
        events = list(OutboxEvent.objects.filter(type="usage.model_unpriced"))
    assert [e.envelope["data"] for e in events] == [{"model": "unheard-of", "events": 2}]
    assert events[0].org_id == world.org_id


def test_the_gateways_find_room_where_others_do_not(world: World, settings: Any) -> None:
    settings.USAGE_INBOX_MAX_EVENTS, settings.USAGE_INBOX_RESERVED_EVENTS = 2, 2
    send(world, typed(), typed())
    with pytest.raises(InboxFull):
        ingest(key=world.key, events=[typed()])
    send(world, typed(), reserved=True)
    with pytest.raises(InboxFull):
        ingest(key=world.key, events=[typed(), typed()], reserved=True)
