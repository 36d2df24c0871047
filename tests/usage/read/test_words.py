"""Chunks list the words of their details, so that a search for one leaves the others alone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from apps.usage import words
from apps.usage.drain import merge
from apps.usage.drain.shard import drain_now
from apps.usage.selectors import raw
from apps.usage.selectors.raw import event_search
from apps.usage.services import ingest
from apps.usage.texts import joined
from apps.usage.words import listed_words, word_numbers
from tests.usage.engine.conftest import World, make_world, rows, typed


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def count(world: World, *events: dict[str, Any]) -> None:
    """A chunk of these events."""
    ingest(key=world.key, events=[typed(**event) for event in events])
    drain_now()


def listed() -> list[list[int] | None]:
    return [row[0] for row in rows("SELECT words FROM usage_chunk ORDER BY id")]


def search(world: World, **filters: str) -> int:
    found = event_search(
        org_id=world.key.org_id, filters={name: [value] for name, value in filters.items()}, limit=50,
        start=datetime.now(UTC) - timedelta(days=1),
    )  # fmt: skip
    return len(found)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chunks that searches look into."""
    seen: list[int] = []
    look = raw._look

    def noted(*args: Any) -> list[tuple[Any, ...]]:
        found = look(*args)
        seen.extend(row[0] for row in found)
        return found

    monkeypatch.setattr(raw, "_look", noted)
    return seen


def test_each_chunk_lists_its_words(world: World) -> None:
    count(world, {"status": "ok"})
    count(world, {"error_type": "odd_error"}, {"error_type": "odd_error", "stop_reason": "something_new"}, {})
    # One that has a number is no word.
    count(world, {"error_type": "odd_error", "stop_reason": "refusal"})
    odd, new = word_numbers("error_type", ["odd_error"]), word_numbers("stop_reason", ["something_new"])
    assert listed() == [[], sorted(odd + new), odd]


def test_a_search_for_a_word_leaves_the_others_alone(world: World, looked_at: list[int]) -> None:
    for word in ("one", "other", "one", "third"):
        count(
            world,
            {"error_type": word, "stop_reason": "end_turn"},
            {"error_type": word, "stop_reason": f"stopped_{word}"},
        )
    numbers = [row[0] for row in rows("SELECT id FROM usage_chunk ORDER BY id")]
    for filters, found, chunks in (
        ({"error_type": "other"}, 2, [numbers[1]]),
        ({"error_type": "one"}, 4, [numbers[2], numbers[0]]),
        ({"error_type": "nowhere"}, 0, []),
        ({"stop_reason": "stopped_third"}, 1, [numbers[3]]),
        ({"stop_reason": "stopped_third", "error_type": "one"}, 0, []),
        # Any chunk may have it.
        ({"stop_reason": "end_turn"}, 4, numbers[::-1]),
        ({"stop_reason": "end_turn", "error_type": "third"}, 1, [numbers[3]]),
    ):
        looked_at.clear()
        assert (search(world, **filters), looked_at) == (found, chunks), filters


def test_chunks_that_do_not_say_are_looked_into(world: World, looked_at: list[int]) -> None:
    """As those that an older version wrote."""
    count(world, {"error_type": "one"})
    count(world, {"error_type": "other"})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_chunk SET words = NULL")
    assert (search(world, error_type="one"), len(looked_at)) == (1, 2)


def test_a_merged_chunk_lists_the_words_of_all(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge, "TOGETHER", 3)
    for word in ("one", "other", "third"):
        count(world, {"error_type": word})
    assert merge.merge_chunks() == 2
    assert listed() == [sorted(word_numbers("error_type", ["one", "other", "third"]))]


def test_very_many_words_are_not_listed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "MOST", 2)
    count(world, *({"error_type": f"word {number}"} for number in range(2)))
    count(world, *({"error_type": f"word {number}"} for number in range(3)))
    assert [found is None for found in listed()] == [False, True]
    assert [search(world, error_type=f"word {number}") for number in range(4)] == [2, 2, 1, 0]


def test_details_that_cannot_be_read_are_not_told_of() -> None:
    assert listed_words(joined([b'{"error_type":'])) is None
    assert listed_words(joined([b"", b'{"model":"a"}'])) == []
    assert listed_words(None) == []


@pytest.mark.parametrize("size", [3, 2500])
def test_an_error_type_is_found_as_it_is_spelt_and_is_no_other_that_has_it_inside(world: World, size: int) -> None:
    """Whether JSON spells it as it is or not, and whether the texts are in parts or not."""
    spelt = ["overloaded", "overloaded_error", 'odd "quoted" error', "back\\slash", "Überlast", "line\nend", "model"]
    count(
        world,
        *({"error_type": error, "stop_reason": "overloaded", "request_id": f"req-{error}"} for error in spelt),
        *({} for _ in range(size)),
    )
    for error in spelt:
        found = event_search(org_id=world.key.org_id, filters={"error_type": [error]}, limit=50)
        assert [(row.body["error_type"], row.body["request_id"]) for row in found] == [(error, f"req-{error}")]
    both = event_search(org_id=world.key.org_id, filters={"error_type": ["overloaded", 'odd "quoted" error']}, limit=50)
    assert {row.body["error_type"] for row in both} == {"overloaded", 'odd "quoted" error'}
    assert search(world, error_type="loaded") == search(world, error_type="error_type") == 0
    assert len(event_search(org_id=world.key.org_id, filters={"error_type": ["", "model"]}, limit=size + 9)) == size + 1
