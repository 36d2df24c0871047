"""Metadata is nested to a bounded depth: below what any reader or writer of JSON on an event's way can take."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from apps.core.tenancy import org_scope
from apps.usage.drain.shard import drain_now
from apps.usage.ingest.attribution import forget_directories
from apps.usage.ingest.nesting import MAX_DEPTH, is_too_deep, too_deep
from apps.usage.selectors.raw import event_search
from apps.usage.services import ingest, register_tag_key
from apps.usage.texts import joined
from tests.usage.engine.conftest import World, typed

# Brackets in strings, and quotes and backslashes before them, are what a count could take for nesting.
LEAVES = st.one_of(st.none(), st.integers(), st.text(alphabet='[]{}"\\a\u2028', max_size=200))
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"', max_size=3), inner, max_size=3)
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((depth_of(inner) for inner in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(inner) for inner in value), default=0)
    return 0


def wrapped(value: Any, times: int) -> Any:
    for turn in range(times):
        value = [value] if turn % 2 else {"a": value}
    return value


@given(st.lists(st.tuples(VALUES, st.integers(0, 70), st.booleans()), min_size=1, max_size=6))
def test_what_is_too_deep_is_what_a_walk_finds_to_be(cases: list[tuple[Any, int, bool]]) -> None:
    values = [wrapped(value, times) for value, times, _ in cases]
    texts = [json.dumps(value).encode() if there else b"" for value, (_, _, there) in zip(values, cases, strict=True)]
    expected = [place for place, text in enumerate(texts) if text and depth_of(json.loads(text)) > MAX_DEPTH]
    assert [place for place, text in enumerate(texts) if is_too_deep(text)] == expected
    assert too_deep(joined(texts)) == expected


@pytest.mark.parametrize("together", [1, 3], ids=["by itself", "in a batch"])
@pytest.mark.parametrize("spelled", [('{"a":', "}"), ("[", "]")], ids=["objects", "arrays"])
def test_the_deepest_metadata_is_shown_and_what_is_deeper_is_refused(
    world: World, spelled: tuple[str, str], together: int
) -> None:
    register_tag_key(org_id=world.org_id, key="deep")
    forget_directories()

    def nested(levels: int) -> Raw:
        inner = spelled[0] * (levels - 1) + "1" + spelled[1] * (levels - 1)
        return Raw(f'{{"deep": {inner}}}'.encode())

    for levels, code in ((MAX_DEPTH, []), (MAX_DEPTH + 1, ["too_deep"]), (900, ["too_deep"])):
        plain = [typed() for _ in range(together - 1)]
        result = ingest(key=world.key, events=[typed(metadata=nested(levels)), *plain])
        assert [r.code for r in result.rejected] == code
        assert result.accepted == together - len(code)
    drain_now()
    with org_scope(world.org_id):
        bodies = [row.body for row in event_search(org_id=world.org_id, filters={}, limit=20)]
    assert len(bodies) == 1 + 3 * (together - 1)
    # Both writers of answers take it.
    assert orjson.loads(orjson.dumps(bodies)) == json.loads(json.dumps(bodies))
