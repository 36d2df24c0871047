"""The engine in figures: what waits, who sends, what was refused, bounded in how many names it takes."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from apps.core import clock
from apps.usage.drain.flush import prepare
from apps.usage.drain.shard import Drainer
from apps.usage.heartbeat import Heartbeat
from apps.usage.ingest.inbox import slot_of
from apps.usage.jobs import partitions
from apps.usage.selectors.engine import day_counts, engine_state, unpriced_today
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, rows, typed
from tests.usage.visibility.test_watch import LONG, shard_says, wait_in_slot

pytestmark = pytest.mark.django_db


def scrape(path: str = "/v1/metrics") -> dict[str, float]:
    text = Client().get(path).content.decode()
    return {name: float(value) for name, value in re.findall(r"^(mindweave_usage_\S+) (\S+)$", text, re.MULTILINE)}


def beat(world: World, shard: int, *events: Any) -> Heartbeat:
    """Count events as a shard does that tells of it."""
    ingest(key=world.key, events=list(events))
    drainer = Drainer(range(8))
    drainer.load()
    heartbeat = Heartbeat(shard)
    heartbeat._tallied = -1e9
    heartbeat.alive(1 << slot_of(world.org_id), drainer.index.stats)
    items = drainer.take()
    flush = prepare(items, drainer.dims, drainer.index)
    drainer.write(flush)
    heartbeat.flushed(flush)
    heartbeat.alive(1 << slot_of(world.org_id), drainer.index.stats)
    return heartbeat


@pytest.mark.parametrize("path", ["/v1/metrics", "/metrics"])
def test_what_waits_is_told_slot_by_slot(path: str) -> None:
    wait_in_slot(2, for_=timedelta(seconds=30))
    wait_in_slot(2, for_=timedelta(seconds=3))
    wait_in_slot(5, for_=timedelta(seconds=9))
    figures = scrape(path)
    assert figures["mindweave_usage_inbox_events"] == 21
    assert figures["mindweave_usage_inbox_batches"] == 3
    assert figures['mindweave_usage_slot_inbox_events{slot="2"}'] == 14
    assert figures['mindweave_usage_slot_inbox_events{slot="0"}'] == 0
    assert figures['mindweave_usage_slot_lag_seconds{slot="2"}'] >= 30
    assert figures["mindweave_usage_lag_seconds"] >= 30


def test_a_stuck_shard_is_a_figure() -> None:
    shard_says(0, [0], flushed=timedelta(seconds=1))
    shard_says(1, [1], flushed=LONG)
    wait_in_slot(1, for_=LONG)
    figures = scrape()
    assert figures['mindweave_usage_shard_stalled{shard="0"}'] == 0
    assert figures['mindweave_usage_shard_stalled{shard="1"}'] == 1


def test_a_shards_books_say_who_sent_and_what_had_no_price(world: World) -> None:
    beat(world, 0, typed(), typed(model="nobody-knows-it"), typed(event_type="mcp_tool", model=None, input_tokens=0))
    (state,) = engine_state().shards
    assert (state.shard, state.slots, state.ids) == (0, (slot_of(world.org_id),), 3)
    assert state.events_per_second == pytest.approx(0.3)
    (row,), every = day_counts(top=5)
    assert (UUID(row.org_id), row.events, row.calls, row.unpriced) == (world.org_id, 3, 2, 1)
    assert every.events == 3
    assert unpriced_today(top=5) == [(str(world.org_id), "nobody-knows-it", 1)]
    assert scrape()[f'mindweave_usage_org_events_today{{org="{world.org_id}"}}'] == 3
    beat(world, 0, typed())
    assert day_counts(top=5)[1].events == 4


def test_only_so_many_organisations_are_named(settings: Any) -> None:
    settings.USAGE_METRICS_ORGS = 3
    for n in range(10):
        rows(
            "INSERT INTO usage_day_tally VALUES (%s, %s, '', %s, 1, 0) RETURNING 1", clock.now().date(), uuid4(), n + 1
        )
    named = {name: value for name, value in scrape().items() if "org_events_today" in name}
    assert sorted(named.values()) == [8, 9, 10, 28]
    assert named['mindweave_usage_org_events_today{org="other"}'] == 28


def test_a_shard_that_went_away_counts_nothing_a_second(world: World) -> None:
    beat(world, 0, typed())
    with clock.freeze(clock.now() + timedelta(minutes=1)):
        assert engine_state().shards[0].events_per_second == 0


def test_another_division_of_the_slots_replaces_the_one_before() -> None:
    stats = {"ids": 1, "filter_bytes": 2, "segments": 3}
    Heartbeat(0).alive(0b01010101, stats)
    Heartbeat(1).alive(0b10101010, stats)
    assert [shard.shard for shard in engine_state().shards] == [0, 1]
    Heartbeat(0).alive(0b11111111, stats)
    assert [shard.slots for shard in engine_state().shards] == [tuple(range(8))]


def test_rows_astray_are_a_figure(world: World) -> None:
    assert scrape()['mindweave_usage_stray_rows{table="usage_chunk_default"}'] == 0
    rows(
        "INSERT INTO usage_rollup_minute_default SELECT '1999-01-01', 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ''"
        " RETURNING 1"
    )
    assert scrape()['mindweave_usage_stray_rows{table="usage_rollup_minute_default"}'] == 1


def test_what_is_refused_is_counted_by_its_code(world: World) -> None:
    before = scrape()
    ingest(key=world.key, events=[typed(timestamp="yesterday"), typed(event_id="none"), typed()])
    after = scrape()
    new = {name: value - before.get(name, 0) for name, value in after.items() if "rejected_events_total" in name}
    assert sum(new.values()) == 2
    assert make_world("other").org_id != world.org_id


def test_the_job_that_keeps_partitions_says_what_is_astray() -> None:
    assert partitions()["strays"] == {"usage_chunk_default": 0, "usage_rollup_minute_default": 0}
