"""An organisation's minute of deltas is one row, and reads as if each key had one."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from apps.core import clock
from apps.usage import store
from apps.usage.contracts import ServerToolUse
from apps.usage.drain import fold
from apps.usage.drain import rows as drain_rows
from apps.usage.drain.copybuf import arrays
from apps.usage.drain.shard import drain_now
from apps.usage.histogram import merge
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, rows, typed, value

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
KEYS = (
    "SELECT d.minute, d.org, w.model, d.events, d.input_tokens, d.web_searches, d.latency_count, d.latency_ms"
    " FROM usage_delta d JOIN usage_what w ON w.id = d.what ORDER BY 1, 2, 3"
)


def at(minute: float, **fields: Any) -> dict[str, Any]:
    when = (NOON + timedelta(minutes=minute)).isoformat()
    return typed(**{"timestamp": when, "input_tokens": 0, "latency_ms": None, **fields})


def count(world: World, *events: dict[str, Any]) -> None:
    assert ingest(key=world.key, events=list(events)).accepted == len(events)


def test_a_flush_adds_a_row_for_each_organisation_and_minute(world: World) -> None:
    other = make_world("other")
    count(
        world,
        at(1, model="a", input_tokens=3, latency_ms=100), at(1.5, model="a", input_tokens=4),
        at(1, model="b", input_tokens=5, latency_ms=7), at(2, model="a", input_tokens=6),
    )  # fmt: skip
    count(other, at(1, model="b", input_tokens=7))
    drain_now()
    one, two = (store.org_number(w.org_id) for w in (world, other))
    first, second = NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)
    assert rows("SELECT minute, org, keys FROM usage_delta_pack ORDER BY 1, 2") == [
        (first, one, 2), (first, two, 1), (second, one, 1),
    ]  # fmt: skip
    assert rows(KEYS) == [
        (first, one, "a", 2, 7, 0, 1, 100), (first, one, "b", 1, 5, 0, 1, 7), (first, two, "b", 1, 7, 0, 0, 0),
        (second, one, "a", 1, 6, 0, 0, 0),
    ]  # fmt: skip
    # What is nothing but zeros is not there.
    assert value("SELECT bool_and(web_searches IS NULL) FROM usage_delta_pack")
    histograms = rows("SELECT latency_hist FROM usage_delta WHERE org = %s AND minute = %s ORDER BY what", one, first)
    assert sorted(int(merge(bytes(found)).sum()) for (found,) in histograms) == [1, 1]


def test_many_keys_of_one_minute_are_several_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_rows, "MOST_KEYS", 2)
    count(world, *(at(1, model=f"m{i}", input_tokens=i, latency_ms=i) for i in range(5)))
    drain_now()
    assert sorted(keys for (keys,) in rows("SELECT keys FROM usage_delta_pack")) == [1, 2, 2]
    found = rows("SELECT w.model, input_tokens, latency_ms FROM usage_delta d JOIN usage_what w ON w.id = d.what")
    assert sorted(found) == [(f"m{i}", i, i) for i in range(5)]
    # Folding takes whole rows, beyond its limit where need be, and all of them in the end.
    with clock.freeze(NOON + timedelta(hours=1)):
        assert fold.fold_rollups(limit=1) == 5
    assert value("SELECT sum(input_tokens) FROM usage_rollup_quarter") == 10
    assert value("SELECT count(*) FROM usage_delta_pack") == 0


def test_tightening_keeps_every_figure(world: World) -> None:
    for _ in range(fold.MUCH):
        count(
            world,
            at(1, model="a", latency_ms=20, server_tool_use=ServerToolUse(web_search_requests=2)),
            at(1, model="b", cost_usd="0.25"),
        )
        drain_now()
    sums = "SELECT w.model, sum(d.events), sum(d.cost_nano), sum(reported_nano), sum(unpriced), sum(latency_ms)," \
        " sum(web_searches) FROM usage_delta d JOIN usage_what w ON w.id = d.what GROUP BY 1 ORDER BY 1"  # fmt: skip
    before = rows(sums)
    assert fold.tighten_deltas(NOON, NOON + timedelta(minutes=5), least=0) == 2 * (fold.MUCH - 1)
    assert rows("SELECT keys FROM usage_delta_pack") == [(2,)]
    assert rows(sums) == before
    ((histogram,),) = rows("SELECT latency_hist FROM usage_delta WHERE latency_count > 0")
    assert int(merge(bytes(histogram)).sum()) == fold.MUCH


def test_figures_that_no_sum_holds_keep_rows_of_their_own(world: World) -> None:
    huge = [at(1, model="a", cost_usd=100_000 + n) for n in range(3)]
    count(world, *huge, at(1, model="a", cost_usd=1))
    drain_now()
    assert value("SELECT count(*) FROM usage_delta") == 4
    count(world, at(1, model="a", cost_usd=2))
    drain_now()
    fold.tighten_deltas(NOON, NOON + timedelta(minutes=5), least=0, much=1)
    assert sorted(n for (n,) in rows("SELECT reported_nano FROM usage_delta")) == [
        3 * 10**9, *((100_000 + n) * 10**9 for n in range(3)),
    ]  # fmt: skip
    fold.fold_all()
    assert value("SELECT sum(reported_nano) FROM usage_rollup_day") == (300_003 + 3) * 10**9


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(OverflowError, match="do not fit i4"):
        arrays("i4", np.array([1, 2**31]), [(0, 2)])
    assert arrays("i8", np.array([1, 2**31]), [(0, 0)]) == [bytes.fromhex("0000000c000000000000000000000014")]


@pytest.mark.django_db(transaction=True)
def test_what_waited_to_be_folded_is_there_after_going_back_and_on_again() -> None:
    world = make_world(f"migrated-{uuid4().hex[:8]}")
    count(world, at(1, model="a", session_id="s", input_tokens=3), at(2, model="b", session_id="s", latency_ms=9))
    drain_now()
    deltas = "SELECT * FROM usage_delta ORDER BY minute"
    sessions = "SELECT session, org, session_id, {}, events, input_tokens FROM usage_session_delta ORDER BY events DESC"
    before, session = rows(deltas), rows(sessions.format("models"))
    assert [row[3:] for row in session] == [(["a", "b"], 2, 3)]
    try:
        _migrate("0028_without_references")
        assert [row[:2] for row in rows(deltas)] == [row[:2] for row in before]
        assert sorted(row[2:] for row in rows(deltas)) == sorted(row[2:] for row in before)
        assert [row[3:] for row in rows(sessions.format("model"))] == [("a", 2, 3), ("b", 0, 0)]
    finally:
        _migrate()
    assert rows(deltas) == before
    fold.fold_all()
    # Of whom it was is not known any more, so it is not said.
    assert rows("SELECT models, events, input_tokens, whos FROM usage_session") == [(["a", "b"], 2, 3, None)]


def _migrate(to: str | None = None) -> None:
    executor = MigrationExecutor(connection)
    executor.migrate([("usage", to)] if to else executor.loader.graph.leaf_nodes("usage"))
