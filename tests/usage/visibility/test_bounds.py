"""How many names of an organisation are counted under themselves, and what becomes of the others."""

import re
from typing import Any

import pytest
from django.test import Client

from apps.core.tenancy import org_scope
from apps.usage.drain.shard import Drainer, drain_now
from apps.usage.repricing import reprice, reprice_start
from apps.usage.selectors import event_search
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, rows, typed

pytestmark = pytest.mark.django_db


def count(world: World, *events: Any) -> None:
    ingest(key=world.key, events=list(events))
    drain_now()


def tool(server: str, name: str) -> Any:
    return typed(event_type="mcp_tool", model=None, mcp_server=server, mcp_tool=name, input_tokens=0, output_tokens=0)


def counted_by(column: str) -> list[tuple[str, int]]:
    return rows(
        f"SELECT {column}, sum(events)::int FROM usage_delta d JOIN usage_what t ON t.id = d.what GROUP BY 1 ORDER BY 1"
    )


def folded(kind: str) -> float:
    text = Client().get("/v1/metrics").content.decode()
    found = re.search(rf'mindweave_usage_folded_names_total{{kind="{kind}"}} (\S+)', text)
    return float(found[1]) if found else 0.0


def test_a_model_too_many_counts_as_other_and_keeps_its_name_and_its_price(world: World, settings: Any) -> None:
    settings.USAGE_MAX_MODELS = 2
    before = folded("model")
    count(world, typed(model="claude-opus-5"), typed(model="mine-1"))
    count(world, typed(model="claude-haiku-5-5", error_type="overloaded_error"), typed(model="mine-1"))
    assert counted_by("model") == [("claude-opus-5", 1), ("mine-1", 2), ("other", 1)]
    assert rows("SELECT sum(unpriced) FROM usage_delta") == [(2,)]
    with org_scope(world.org_id):
        (event,) = event_search(org_id=world.org_id, filters={"model": ["other"]}, limit=5)
    assert (event.body["model"], event.body["error_type"]) == ("claude-haiku-5-5", "overloaded_error")
    assert event.body["cost_source"] == "price_book"
    assert folded("model") - before == 1


def test_tools_servers_and_sources_are_bounded_each_by_itself(world: World, settings: Any) -> None:
    settings.USAGE_MAX_MCP_SERVERS, settings.USAGE_MAX_MCP_TOOLS, settings.USAGE_MAX_SOURCES = 1, 2, 1
    count(world, tool("files", "read"), tool("files", "write"), typed(source="sdk"))
    count(world, tool("git", "read"), tool("files", "delete"), tool("git", "push"), typed(source="cron"), typed())
    assert counted_by("mcp_server") == [("", 3), ("files", 3), ("other", 2)]
    assert counted_by("mcp_tool") == [("", 3), ("other", 2), ("read", 2), ("write", 1)]
    assert counted_by("source") == [("", 6), ("other", 1), ("sdk", 1)]
    with org_scope(world.org_id):
        found = event_search(org_id=world.org_id, filters={"mcp_tool": ["other"], "mcp_server": ["other"]}, limit=5)
    assert [(event.body["mcp_server"], event.body["mcp_tool"]) for event in found] == [("git", "push")]


def test_the_words_of_a_price_class_are_bounded(world: World, settings: Any) -> None:
    settings.USAGE_MAX_PRICE_WORDS = 1
    for word in ("eu", "us", "eu", "mars"):
        count(world, typed(inference_geo=word, speed=f"{word}-speed"))
    assert counted_by("geo") == [("eu", 2), ("other", 2)]
    assert counted_by("speed") == [("eu-speed", 2), ("other", 2)]


def test_one_organisations_names_leave_the_others_share_alone(settings: Any) -> None:
    settings.USAGE_MAX_MODELS = 1
    one, other = make_world("one"), make_world("two")
    count(one, typed(model="a"), typed(model="b"))
    count(other, typed(model="b"))
    assert dict(counted_by("model"))["b"] == 1 or dict(counted_by("model"))["a"] == 1
    assert sum(events for _, events in counted_by("model")) == 3
    assert rows("SELECT count(*) FROM usage_name WHERE kind = 1") == [(2,)]


def test_combinations_of_names_are_bounded_too(world: World, settings: Any) -> None:
    settings.USAGE_MAX_WHATS = 3
    count(world, *(tool(f"s{n % 3}", f"t{n // 3}") for n in range(9)))
    assert rows("SELECT count(DISTINCT what) FROM usage_delta") == [(4,)]
    assert dict(counted_by("mcp_tool"))["other"] == 6
    with org_scope(world.org_id):
        found = event_search(org_id=world.org_id, filters={}, limit=20)
    assert len({(event.body["mcp_server"], event.body["mcp_tool"]) for event in found}) == 9


def test_a_new_process_knows_the_names_that_were_there(world: World, settings: Any) -> None:
    settings.USAGE_MAX_MODELS = 3
    count(world, *(typed(model=f"m{n}") for n in range(3)))
    # Each drain_now() is a process of its own, as far as its memory goes.
    count(world, typed(model="m9"), typed(model="m2"))
    assert counted_by("model") == [("m0", 1), ("m1", 1), ("m2", 2), ("other", 1)]


def test_a_limit_that_is_raised_admits_new_names(world: World, settings: Any) -> None:
    settings.USAGE_MAX_MODELS = 1
    count(world, typed(model="m0"), typed(model="m1"))
    settings.USAGE_MAX_MODELS = 2
    count(world, typed(model="m1"))
    assert dict(counted_by("model")) == {"m0": 1, "m1": 1, "other": 1}


def test_a_name_that_is_sent_twice_and_a_batch_of_many_count_right(world: World, settings: Any) -> None:
    settings.USAGE_MAX_MODELS = 10
    batch = [typed(model=f"m{n % 50}") for n in range(500)]
    count(world, *batch, *batch[:7])
    assert dict(counted_by("model"))["other"] == 400
    assert len(counted_by("model")) == 11
    with org_scope(world.org_id):
        found = event_search(org_id=world.org_id, filters={}, limit=500)
    assert {event.body["event_id"]: event.body["model"] for event in found} == {e.event_id: e.model for e in batch}


def test_names_that_were_seen_before_ask_the_database_nothing(
    world: World, django_assert_num_queries: Any, settings: Any
) -> None:
    from apps.usage.ingest.frame import unpack

    settings.USAGE_MAX_MODELS = 1
    drainer = Drainer(range(8))
    ingest(key=world.key, events=[typed(model="m0"), typed(model="m1")])
    frames = [(drainer.dims.org(item.org_id), frame) for item in drainer.take() for frame in unpack(item.frames)]
    drainer.dims.bounds.bound(frames)
    ingest(key=world.key, events=[typed(model="m0"), typed(model="m1")])
    frames = [(drainer.dims.org(item.org_id), frame) for item in drainer.take() for frame in unpack(item.frames)]
    with django_assert_num_queries(0):
        drainer.dims.bounds.bound(frames)
    assert sorted(key[1] for _, frame in frames for key in frame.header.whats) == ["m0", "other"]


def test_what_is_forgotten_to_save_memory_comes_out_the_same(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USAGE_MAX_MODELS = 2
    monkeypatch.setattr("apps.usage.drain.bounds.MAX_REMEMBERED", 3)
    drainer = Drainer(range(8))
    drainer.load()
    for n in range(8):
        ingest(key=world.key, events=[typed(model=f"m{n}"), typed(model="m0"), typed(model="m1"), typed(model="m7")])
        drainer.step()
    assert counted_by("model") == [("m0", 9), ("m1", 9), ("other", 14)]


def test_pricing_anew_leaves_alone_what_counts_as_other(world: World, settings: Any) -> None:
    settings.USAGE_MAX_MODELS = 1
    count(world, typed(model="claude-opus-5"), typed(model="claude-haiku-5-5"))
    before = rows("SELECT sum(cost_nano), sum(unpriced) FROM usage_delta")
    assert reprice(reprice_start(org_id=world.org_id, reason="a test"))
    assert rows("SELECT sum(cost_nano), sum(unpriced) FROM usage_delta") == before
    with org_scope(world.org_id):
        (event,) = event_search(org_id=world.org_id, filters={"model": ["other"]}, limit=5)
    assert event.body["cost_source"] == "price_book"
