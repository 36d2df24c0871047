"""Hints spare searches the chunks that hold nothing, and hide no event: held against a look at every event."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import msgspec
import numpy as np
import pytest
import zstandard
from django.db import connection

from apps.accounts.services import update_organization
from apps.core import clock
from apps.core.database import connect
from apps.projects.contracts import KeyContext
from apps.usage import chunks, hinting, hints
from apps.usage.drain import merge
from apps.usage.drain.shard import drain_now
from apps.usage.repricing import reprice, reprice_start
from apps.usage.selectors import hints as hints_asked
from apps.usage.selectors import match, pick, raw
from apps.usage.selectors.hints import Hints
from apps.usage.selectors.plan import EVER, Plan, plan_dimensions, plan_fields
from apps.usage.selectors.raw import event_search
from apps.usage.services import ingest, register_tag_key
from tests.usage.engine.conftest import World, make_world, rows, typed, value
from tests.usage.reprice.test_reprice import set_price

ALL = 100_000
# Where the JSON of an event has what a filter of this name looks for.
_TOOL = {"event_type": "mcp_tool", "model": None, "mcp_server": "files", "mcp_tool": "read", "stop_reason": None,
         "service_tier": None, "speed": None}  # fmt: skip
_FIELD = {"project": "project_id", "user": "user_id", "team": "team_id", "key": "key_id"}


def values_of(rng: Random, world: World) -> dict[str, list[Any]]:
    """What the events of one chunk may be: of each field few values, others in each chunk, some in hardly any."""
    rare = rng.random() < 0.2
    return {
        "model": rng.sample(["claude-opus-5", "claude-haiku-4-5", "brand-new"], 2),
        "user_id": [str(rng.choice([world.alice, world.bob]))],
        "status": ["error"] if rare else ["ok"],
        "error_type": ["odd_error"] if rare else [None, "overloaded_error"],
        "stop_reason": ["refusal", "something_new"] if rare else rng.sample([None, "end_turn", "tool_use"], 2),
        "session_id": [None, f"session-{rng.randrange(12)}"],
        "request_id": [None, *(f"req_{rng.randrange(300)}" for _ in range(6))],
        "source": ["sdk", None],
        "service_tier": ["standard", "batch"] if rare else [None],
        "speed": [None, "fast"],
        "metadata": [msgspec.Raw(b'{"department":"%s"}' % rng.choice([b"dyes", b"paints"])), msgspec.Raw(b"")],
    }


def count(
    rng: Random, world: World, chunks: int, *, days: float, beside: KeyContext | None = None, wide: bool = False
) -> None:
    """So many flushes of a dozen events each, of which each makes a chunk for each day of dropping.

    ``wide``: every third reaches over many others.
    """
    for _ in range(chunks):
        values = values_of(rng, world)
        at = datetime.now(UTC) - timedelta(days=rng.random() * days)
        seconds = rng.choice([40, 40, 40_000]) if wide else 40
        key = world.key if beside is None or rng.random() < 0.7 else beside
        events = [
            typed(
                timestamp=(at - timedelta(seconds=rng.randrange(seconds))).isoformat(),
                **{name: rng.choice(choices) for name, choices in values.items()}
                | (_TOOL if rng.random() < 0.2 else {}),
            )
            for _ in range(12)
        ]
        assert not ingest(key=key, events=events).rejected
        drain_now()


def question(rng: Random, bodies: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """One to four filters; of values that are somewhere, nowhere, or not known."""
    names = rng.sample(
        ["model", "user", "status", "error_type", "stop_reason", "session_id", "request_id", "source", "cost_source",
         "tag:department", "event_id", "key", "project", "team", "event_type", "mcp_tool", "service_tier", "speed"],
        rng.choice([1, 1, 2, 3, 4]),
    )  # fmt: skip
    model = rng.choice(bodies)
    asked = {}
    for name in names:
        mine = seen(model, name)
        asked[name] = [mine if rng.random() < 0.7 else seen(rng.choice(bodies), name)]
        if rng.random() < 0.2:
            asked[name].append(rng.choice(["nowhere", "", seen(rng.choice(bodies), name)]))
        if rng.random() < 0.1:
            asked[name] = ["nowhere" if name != "event_id" else str(uuid4())]
    return asked


def seen(body: Mapping[str, Any], name: str) -> str:
    if name.startswith("tag:"):
        return str(body["tags"].get(name[4:]) or "")
    return str(body[_FIELD.get(name, name)] or "")


def check(rng: Random, world: World, questions: int) -> None:
    """Searches find what a look at every event finds, page by page."""
    everything = event_search(org_id=world.org_id, filters={}, limit=ALL)
    bodies = [row.body for row in everything]
    for _ in range(questions):
        asked = question(rng, bodies)
        start, end = None, None
        if rng.random() < 0.3:
            start, end = sorted(rng.choice(everything).at for _ in range(2))
        expected = [
            row.event_id
            for row in everything
            if (start is None or row.at >= start) and (end is None or row.at < end)
            and all(seen(row.body, name) in values for name, values in asked.items())
        ]  # fmt: skip
        found: list[UUID] = []
        after = None
        limit = rng.choice([3, 20])
        while page := event_search(
            org_id=world.org_id, filters=asked, limit=limit, start=start, end=end, after=after
        ):  # fmt: skip
            found += [row.event_id for row in page]
            after = (page[-1].at, page[-1].event_id)
            if len(found) >= 60:
                break
        assert found == expected[: len(found)], (asked, start)
        assert len(found) >= min(60, len(expected)), (asked, start)


def without(world: World, **filters: str) -> set[int]:
    """The chunks that a search need not look into."""
    return set(said(world, filters)[1].without)


def told(world: World, **filters: str) -> dict[int, list[int]]:
    """The events that hints tell of, by chunk."""
    return said(world, filters)[1].places(list(chunks_of(world)))


def said(world: World, filters: Mapping[str, str]) -> tuple[Plan, Hints]:
    org, salt = rows("SELECT id, salt FROM usage_org WHERE org_id = %s", world.org_id)[0]
    plan, asked = Plan(org, -EVER, EVER), {name: [one] for name, one in filters.items()}
    plan_dimensions(plan, asked)
    plan_fields(plan, asked, world.org_id, bytes(salt))
    found = Hints(plan)
    found.know(ALL)
    return plan, found


def chunks_of(world: World) -> set[int]:
    return {row[0] for row in rows("SELECT c.id FROM usage_chunk c JOIN usage_org o ON o.id = c.org"
                                   " WHERE o.org_id = %s", world.org_id)}  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_searches_find_the_same_with_hints_whatever_happened_to_the_chunks(
    db: None, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    monkeypatch.setattr(hinting, "ENOUGH", 6)
    monkeypatch.setattr(merge, "TOGETHER", 4)
    # Crowds: who is left out of the combinations, and has entries of its own; or what is, too.
    monkeypatch.setattr(hints, "MAX_COMBOS", {1: hints.MAX_COMBOS, 2: 5, 3: 40}[seed])
    # Rare combinations: all that there are but a few, and next to none.
    monkeypatch.setattr(hints, "_RARE_SHARE", {1: 1, 2: 2, 3: 16}[seed])
    monkeypatch.setattr(hints_asked, "_FIRST_BLOCKS", 1)
    # As where chunks are large: texts in parts, events read alone.
    monkeypatch.setattr(chunks, "_PARTED", 10)
    monkeypatch.setattr(chunks, "TEXTS_TOGETHER", 5)
    world, other = make_world(), make_world("initech")
    register_tag_key(org_id=world.org_id, key="department")
    # Another project's key, which is a team's, and nobody's.
    beside = world.key_with(key_id=uuid4(), project_id=uuid4(), team_id=uuid4())
    count(rng, world, 14, days=2, beside=beside, wide=True)
    count(rng, other, 3, days=2, wide=True)
    check(rng, world, 25)
    assert hinting.hint_some(every=True)["chunks"] == value("SELECT count(*) FROM usage_chunk")
    if seed == 3:
        assert value("SELECT count(*) FROM usage_hint WHERE who_entries IS NOT NULL")
        assert without(world, user=str(world.alice), status="error", model="claude-opus-5")
    check(rng, world, 60)
    # Nothing of a request id that is nowhere, nothing of what no event meets together; nothing of others is named.
    assert without(world, request_id="req_nowhere") == chunks_of(world)
    if seed == 1:
        assert without(world, stop_reason="refusal", error_type="overloaded_error", status="ok") == chunks_of(world)
    # Late ones, without hints; some of them get theirs together with blocks that are too small.
    count(rng, world, 18, days=3, beside=beside, wide=True)
    check(rng, world, 30)
    look(2)
    check(rng, world, 10)
    hinting.hint_some(every=True)
    check(rng, world, 30)
    # Chunks go into others.
    known = without(world, request_id="req_nowhere")
    assert merge.merge_chunks() > 0
    assert known - chunks_of(world)
    check(rng, world, 30)
    # Costs change, of chunks with hints and of others.
    if seed == 1:
        hinting.hint_some(every=True)
    assert event_search(org_id=world.org_id, filters={"cost_source": ["unpriced"]}, limit=1)
    set_price()
    assert reprice(reprice_start(model="brand-new"))
    check(rng, world, 40)
    hinting.hint_some(every=True)
    assert without(world, cost_source="unpriced") == chunks_of(world)
    check(rng, world, 40)


def all_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event of any combination is told of."""
    monkeypatch.setattr(hints, "_RARE_SHARE", 1)
    monkeypatch.setattr(hints, "_RARE", 1000)


def leave_out_who(monkeypatch: pytest.MonkeyPatch) -> None:
    """Combinations are too many for a block wherever several people meet in one, and few enough without who."""
    packed = hints._packed

    def crowded(rows_of_chunks: list[Any]) -> Any:
        rows = np.concatenate(rows_of_chunks)
        rows["who"] = hints.ANY
        monkeypatch.setattr(hints, "MAX_COMBOS", len(hints._unique(rows)[0]))
        return packed(rows_of_chunks)

    monkeypatch.setattr(hints, "_packed", crowded)


@pytest.mark.parametrize("kind", ["rare", "rare, whos apart", "whos apart"])
def test_single_events_are_told_of_and_it_is_they(db: None, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    if "rare" in kind:
        all_rare(monkeypatch)
    if "apart" in kind:
        leave_out_who(monkeypatch)
    rng, world = Random(9), make_world()
    count(rng, world, 16, days=1)
    hinting.hint_some(every=True)
    assert value("SELECT bool_or(who_fence IS NOT NULL) FROM usage_hint") == ("apart" in kind)
    all_told = 0
    for filters in (
        {"user": str(world.alice), "status": "error"}, {"user": str(world.bob), "model": "claude-haiku-4-5"},
        {"user": str(world.bob), "stop_reason": "end_turn", "source": "sdk"},
        {"status": "error", "error_type": "odd_error"}, {"user": str(world.alice), "error_type": "odd_error"},
    ):  # fmt: skip
        plan, hinted = said(world, filters)
        places = hinted.places(list(chunks_of(world)))
        all_told += len(places)
        for chunk in chunks.read_chunks(plan.org, limit=ALL):
            mine = np.ones(chunk.events, dtype=bool)
            for name, values in (("who", plan.who), ("what", plan.what), ("stop", plan.stops)):
                if values is not None:
                    mine &= np.isin(chunk.columns[name], values)
            expected = np.flatnonzero(mine).tolist()
            if "error_type" in filters:
                expected = [place for place in expected if b'"odd_error"' in chunk.texts()[place][1]]
            if chunk.id in places:
                assert sorted(places[chunk.id]) == expected
            elif chunk.id in hinted.without:
                assert expected == []
            elif "rare" in kind:
                assert len(expected) > pick.FEW
    assert all_told > 2


def test_what_hardly_any_event_is_is_read_event_by_event(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And found as it is by a look at the columns; the page goes on where it ended."""
    all_rare(monkeypatch)
    rng, world = Random(10), make_world()
    count(rng, world, 24, days=1)
    filters = {"user": [str(world.alice)], "model": ["claude-haiku-4-5"], "stop_reason": ["end_turn"]}
    plain = event_search(org_id=world.org_id, filters=filters, limit=ALL)
    hinting.hint_some(every=True)
    read: list[int] = []
    at = match.matches_at
    monkeypatch.setattr(raw, "matches_at", lambda plan, told: read.append(len(told)) or at(plan, told))
    monkeypatch.setattr(raw, "_FIRST_LOOK", 1)
    assert event_search(org_id=world.org_id, filters=filters, limit=ALL) == plain
    assert sum(read) > 1
    for one in plain:
        asked = {**filters, "request_id": [one.body["request_id"] or ""], "event_id": [str(one.event_id)]}
        assert event_search(org_id=world.org_id, filters=asked, limit=ALL) == [one]
    first = event_search(org_id=world.org_id, filters=filters, limit=3)
    after = (first[-1].at, first[-1].event_id)
    assert first + event_search(org_id=world.org_id, filters=filters, limit=ALL, after=after) == plain


@pytest.mark.parametrize("numbers", [[], [0], [3, -1, 1 << 62, -(1 << 63)]], ids=["none", "one", "some"])
def test_many_numbers_go_to_the_database_as_they_are(db: None, numbers: list[int]) -> None:
    assert chunks.fetch("SELECT %s", (chunks.Bigints(numbers),)) == [(numbers,)]


def test_an_error_type_is_known_together_with_whose_it_was(db: None) -> None:
    world = make_world()
    alice, bob = str(world.alice), str(world.bob)
    events = [
        typed(user_id=alice, status="error", error_type="first"),
        typed(user_id=bob, status="error", error_type="second"),
        typed(user_id=bob),
    ]
    assert not ingest(key=world.key, events=events).rejected
    drain_now()
    hinting.hint_some(every=True)
    assert without(world, user=alice, error_type="second") == chunks_of(world)
    assert without(world, user=alice, error_type="") == chunks_of(world)
    assert not without(world, user=alice, error_type="first")
    assert not without(world, user=bob, error_type="")
    # A block of before knows nothing of it, and hides nothing.
    forget_errors()
    assert not without(world, user=alice, error_type="second")
    assert without(world, user=alice, error_type="third") == chunks_of(world)
    for user, error, found in ((alice, "first", 1), (alice, "second", 0), (bob, "second", 1), (bob, "", 1)):
        asked = {"user": [user], "error_type": [error]}
        assert len(event_search(org_id=world.org_id, filters=asked, limit=5)) == found


def forget_errors() -> None:
    """Make a block's combinations what they were before these had the error type."""
    (packed,) = rows("SELECT combos FROM usage_hint")[0]
    data = zstandard.ZstdDecompressor().decompress(bytes(packed))
    count = int.from_bytes(data[:4], "little") & 0x7FFFFFFF
    combos = b"".join(data[4 + 12 * n : 14 + 12 * n] for n in range(count))
    older = zstandard.compress(count.to_bytes(4, "little") + combos + data[4 + 12 * count :])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_hint SET combos = %s", [older])


def test_an_id_that_is_no_longer_remembered_is_hinted_at_where_events_are_kept_longer(db: None) -> None:
    world = make_world()
    rng = Random(3)
    count(rng, world, 6, days=0.1)
    hinting.hint_some(every=True)
    assert not value("SELECT bool_or(has_ids) FROM usage_hint")
    rows_before = value("SELECT count(*) FROM usage_hint")
    assert rows_before
    with clock.freeze(datetime.now(UTC) + timedelta(days=9)):
        assert hinting.drop_hints() == rows_before
    longer = make_world("initech")
    update_organization(org_id=longer.org_id, changes={"raw_retention_days": 30})
    count(rng, longer, 6, days=0.1)
    hinting.hint_some(every=True)
    assert value("SELECT bool_and(has_ids) FROM usage_hint h JOIN usage_org o ON o.id = h.org WHERE o.org_id = %s",
                 longer.org_id)  # fmt: skip
    event_id = event_search(org_id=longer.org_id, filters={}, limit=ALL)[-1].event_id
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_id_segment")
    with clock.freeze(datetime.now(UTC) + timedelta(days=9)):
        assert without(longer, event_id=str(uuid4())) == chunks_of(longer)
        assert len(without(longer, event_id=str(event_id))) == len(chunks_of(longer)) - 1
        found = event_search(org_id=longer.org_id, filters={"event_id": [str(event_id)]}, limit=5)
    assert [row.event_id for row in found] == [event_id]


def test_few_and_young_chunks_get_none_yet_and_those_that_waited_do(db: None) -> None:
    world = make_world()
    rng = Random(4)
    nothing = {"blocks": 0, "chunks": 0}
    # However old the events are: what counts is for how long their chunk has been there.
    count(rng, world, 3, days=2)
    look(2)
    assert value("SELECT count(*) FROM usage_unhinted") == value("SELECT count(*) FROM usage_chunk") == 3
    with clock.freeze(datetime.now(UTC) + timedelta(hours=5)):
        assert hinting.hint_some() == nothing
    with clock.freeze(datetime.now(UTC) + timedelta(hours=7)):
        assert hinting.hint_some()["chunks"] == 3
        assert hinting.hint_some() == nothing
    assert not value("SELECT count(*) FROM usage_unhinted")


def look(times: int) -> None:
    for _ in range(times):
        hinting.hint_some()


def test_some_get_theirs_once_nothing_new_comes(db: None) -> None:
    world, rng = make_world(), Random(8)
    count(rng, world, hinting.SOME, days=0.001)
    look(2)
    assert not value("SELECT count(*) FROM usage_hint")
    with clock.freeze(datetime.now(UTC) + timedelta(seconds=30)):
        count(rng, world, 1, days=0.001)
        look(2)
    with clock.freeze(datetime.now(UTC) + timedelta(seconds=60)):
        look(1)
        assert not value("SELECT count(*) FROM usage_hint")
    with clock.freeze(datetime.now(UTC) + timedelta(minutes=2)):
        assert hinting.hint_some() == {"blocks": 1, "chunks": hinting.SOME + 1}
        assert hinting.hint_some() == {"blocks": 0, "chunks": 0}


def test_a_look_is_at_what_is_new_and_a_merge_leaves_nothing_behind(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "TOGETHER", 4)
    world, rng = make_world(), Random(5)
    count(rng, world, 4, days=0.01)
    look(2)
    assert value("SELECT count(*) FROM usage_unhinted") == 4
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_unhinted")
    count(rng, world, 5, days=0.01)
    look(3)
    # Those of before are not looked through again.
    assert value("SELECT count(*) FROM usage_unhinted") == 5
    assert merge.merge_chunks() == 8
    assert not value("SELECT count(*) FROM usage_unhinted")
    look(2)
    assert {row[0] for row in rows("SELECT chunk FROM usage_unhinted")} == chunks_of(world)


def test_a_chunk_that_is_committed_after_a_look_past_its_id_is_noticed_all_the_same(committed: None) -> None:
    world, rng = make_world(), Random(6)
    count(rng, world, 1, days=0.01)
    with connect() as elsewhere:
        with elsewhere.transaction():
            (late,) = elsewhere.execute(
                "INSERT INTO usage_chunk (first_at, last_at, org, drop_on, events, whos, whats, scan, facts, texts)"
                " SELECT first_at, last_at, org, drop_on, events, whos, whats, scan, facts, texts FROM usage_chunk"
                " RETURNING id"
            ).fetchone() or (0,)
            count(rng, world, 1, days=0.01)
            look(3)
            assert value("SELECT upto FROM usage_hint_mark") < late
        look(2)
    assert {row[0] for row in rows("SELECT chunk FROM usage_unhinted")} == chunks_of(world)
    assert late in chunks_of(world)
    assert value("SELECT upto FROM usage_hint_mark") >= late


def test_a_database_that_was_restored_elsewhere_is_looked_at(db: None) -> None:
    world, rng = make_world(), Random(7)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_hint_mark SET horizon = '9000000000000'")
    count(rng, world, 1, days=0.01)
    look(3)
    assert {row[0] for row in rows("SELECT chunk FROM usage_unhinted")} == chunks_of(world)
