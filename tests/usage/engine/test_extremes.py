"""Events at the edges of what is accepted: each counts like any other, and none keeps the others from counting."""

import json
import random
from datetime import timedelta

from django.db import connection
from django.test import Client
from msgspec import Raw

from apps.core import clock
from apps.core.tenancy import org_scope, system_scope
from apps.usage import store
from apps.usage.contracts import ServerToolUse
from apps.usage.drain import fold
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.rebuild import check_rollups
from apps.usage.selectors.raw import event_search
from apps.usage.services import ingest, register_tag_key
from tests.usage.engine.conftest import World, event, moment, rows, typed, value

RNG = random.Random(11)


def unusual(length: int) -> str:
    """A text of letters that are four bytes each and do not compress."""
    return "".join(chr(0x20000 + RNG.randrange(40_000)) for _ in range(length))


def test_the_longest_names_and_tags_are_counted_under_their_names(world: World) -> None:
    names = {"mcp_server": 200, "mcp_tool": 200, "source": 64, "service_tier": 64, "speed": 64, "inference_geo": 64}
    longest = {name: unusual(length) for name, length in names.items()}
    for number in range(20):
        register_tag_key(org_id=world.org_id, key=f"k{number}")
    forget_directories()
    tags = {f"k{number}": unusual(200) for number in range(20)}
    events = [
        typed(
            event_type="mcp_tool",
            model="m" + unusual(199),
            metadata=Raw(json.dumps(tags, ensure_ascii=False).encode()),
            **longest,
        )
        for _ in range(2)
    ]
    assert ingest(key=world.key, events=events).accepted == 2
    drain_now()
    with org_scope(world.org_id):
        bodies = [row.body for row in event_search(org_id=world.org_id, filters={}, limit=5)]
    assert [body["mcp_tool"] for body in bodies] == [longest["mcp_tool"]] * 2
    assert [body["tags"] for body in bodies] == [tags] * 2
    assert value("SELECT count(*) FROM usage_what") == 2, "each of the two models is a what of its own"
    assert value("SELECT count(*) FROM usage_tagset") == 1


def test_figures_that_no_sum_may_hold_are_summed_exactly_and_fold(world: World) -> None:
    """2·10⁹ web searches twice are more than an integer, 10⁹ USD ten times more than 64 bits of nano-USD."""
    at = clock.now() - timedelta(minutes=40)
    events = [
        typed(
            timestamp=(at + timedelta(minutes=number % 3)).isoformat(), model="nobody-knows", cost_usd=10**9,
            session_id="dear", server_tool_use=ServerToolUse(2_000_000_000),
        )
        for number in range(24)
    ]  # fmt: skip
    for start in (0, 8, 16):
        ingest(key=world.key, events=[*events[start : start + 8], typed(timestamp=at.isoformat())])
        drain_now()
    fold.tighten_deltas(at - timedelta(hours=1), clock.now(), least=0, much=2)
    fold.fold_all()
    with clock.freeze(clock.now() + timedelta(minutes=30)):
        fold.compact_quarters()
        fold.compact_days()
    number = store.org_number(world.org_id)
    days = {"org": number, "start": at.date() - timedelta(days=1), "end": at.date() + timedelta(days=2)}
    for grain in ("minute", "quarter", "day"):
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT sum(web_searches), sum(reported_nano), sum(events) FROM {store.rollup_sql(grain)} s",
                days,
            )
            assert cursor.fetchone() == (24 * 2_000_000_000, 24 * 10**18, 27)
    with system_scope("test"):
        assert check_rollups(org_id=world.org_id, first=at.date(), last=clock.now().date()) == []
    # One row is all that a session has: its cost ends where its column does.
    assert rows("SELECT events, cost_nano FROM usage_session") == [(24, 2**63 - 1)]


def test_numbers_that_nothing_holds_cost_neither_the_batch_nor_whoever_reads(world: World, client: Client) -> None:
    register_tag_key(org_id=world.org_id, key="size")
    forget_directories()
    odd = '{"size": 1e999, "deep": [[-1e400]], "long": 123456789012345678901234567890}'
    body = "\n".join([_line(odd), _line('{"size": "s"}'), _line('{"size": "\\u0000"}')])
    answer = client.post(
        "/v1/events", body, content_type="application/x-ndjson", headers={"Authorization": f"Bearer {world.token}"}
    )
    assert (answer.status_code, answer.json()["accepted"]) == (202, 3)
    drain_now()
    with org_scope(world.org_id):
        found = event_search(org_id=world.org_id, filters={"tag:size": ["1e999"]}, limit=5)
        tags = sorted(str(row.body["tags"]) for row in event_search(org_id=world.org_id, filters={}, limit=5))
    assert [row.body["metadata"] for row in found] == [
        {"size": "1e999", "deep": [["-1e400"]], "long": 1.2345678901234568e29}
    ]
    assert tags == ["{'size': '1e999'}", "{'size': 's'}", "{}"]


def _line(metadata: str) -> str:
    return json.dumps(event(timestamp=moment(seconds=1)))[:-1] + f', "metadata": {metadata}}}'
