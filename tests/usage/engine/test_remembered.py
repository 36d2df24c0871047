"""What the drain remembers has bounds, and is right beyond them."""

from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import pytest

from apps.usage.drain import dims, whos
from apps.usage.drain.shard import Drainer
from apps.usage.drain.whos import WhoRow, WhoTable
from apps.usage.services import ingest, register_tag_key
from tests.usage.engine.conftest import World, make_world, rows, typed, value


def test_a_table_of_whos_knows_what_it_was_told_in_twenty_bytes_each(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    ids = [rng.bytes(16) for _ in range(6)]
    some: list[WhoRow] = [
        (org, ids[0], team, person, key, tagset)
        for org in (1, 2) for team in (None, ids[1]) for person in (None, *ids) for key in ids[:2]
        for tagset in (None, 1, 7)
    ]  # fmt: skip
    salts = np.array([row[0] for row in some], dtype=np.uint64), np.full(len(some), 9, dtype=np.uint64)
    table = WhoTable()
    hi, lo = table.keys(some, *salts)
    assert len(set(zip(hi.tolist(), lo.tolist(), strict=True))) == len(some)
    assert not table.find(hi, lo).any()
    numbers = rng.permutation(len(some)) + 1
    for part in np.array_split(rng.permutation(len(some)), 7):
        table.add(np.tile(hi[part], 2), np.tile(lo[part], 2), np.tile(numbers[part], 2))
        assert (table.find(hi[part], lo[part]) == numbers[part]).all()
    assert (table.find(hi, lo) == numbers).all()
    assert table.bytes == 20 * len(table) == 20 * len(some)
    monkeypatch.setattr(whos, "MAX_WHOS", len(some))
    table.add(hi[:1] + np.uint64(1), lo[:1], numbers[:1])
    assert len(table) == 1


def test_what_was_forgotten_to_save_memory_is_counted_under_the_same_numbers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in (
        (whos, "MAX_WHOS"), (dims, "MAX_ORGS"), (dims, "MAX_WHATS"), (dims, "MAX_TAGSETS"),
        (dims, "MAX_TAG_VALUES_KNOWN"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, 1)
    worlds = [world, make_world("initech"), make_world("hooli")]
    for each in worlds:
        register_tag_key(org_id=each.org_id, key="shelf")
        register_tag_key(org_id=each.org_id, key="room")
    drainer = Drainer(range(8))
    drainer.load()
    for turn in range(4):
        for each in worlds:
            events: list[Any] = [
                typed(user_id=str(user), model=f"claude-{turn % 2}", metadata=_json(turn % 2, number))
                for user in (each.alice, each.bob) for number in range(2)
            ]  # fmt: skip
            assert not ingest(key=each.key, events=events).rejected
        drainer.step()
        remembered = drainer.dims
        assert len(remembered._whos) <= 12
        assert len(remembered._tagsets) <= 13
        assert len(remembered._orgs) <= 3
    assert value("SELECT sum(events) FROM usage_delta") == 48
    assert value("SELECT count(*) FROM usage_who") == 3 * 2 * 4
    counted = rows(
        "SELECT w.person_id, t.model, g.tags, sum(d.events) FROM usage_delta d JOIN usage_who w ON w.id = d.who"
        " JOIN usage_what t ON t.id = d.what JOIN usage_tagset g ON g.id = w.tagset GROUP BY 1, 2, 3"
    )
    assert len(counted) == 24
    assert {row[3] for row in counted} == {2}
    assert {row[0] for row in counted} == {UUID(str(user)) for each in worlds for user in (each.alice, each.bob)}


def _json(shelf: int, room: int) -> Any:
    return msgspec.Raw(msgspec.json.encode({"shelf": f"s{shelf}", "room": f"r{room}"}))
