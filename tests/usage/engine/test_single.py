"""An event by itself becomes the very frame that it would become as a column of one."""

from fractions import Fraction
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.core import clock
from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventCore
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.columns import Window, build
from apps.usage.pricing.book import TOKEN_KINDS, PriceBook, PriceRow
from tests.usage.engine.conftest import World, event, moment

ALICE, STRANGER = uuid4(), uuid4()
TOO_LONG = b'{"a":"' + b"x" * 17_000 + b'"}'


def shapes() -> st.SearchStrategy[dict[str, Any]]:
    count = st.one_of(st.none(), st.integers(0, 120_000), st.integers(0, 2_000_000_000))
    return st.fixed_dictionaries(
        {
            "event_id": st.one_of(st.uuids().map(str), st.sampled_from(["no", "", "A" * 32])),
            "timestamp": st.sampled_from(
                [moment(seconds=1), moment(days=3), moment(days=30), "yesterday", "2026-11-23T10:00:00+02:00"]
            ),
            "event_type": st.sampled_from(["api_call", "mcp_tool", "session"]),
            "model": st.sampled_from([None, "", "claude-opus-5", "Claude-Opus-5", "unheard-of", "claude-opus-5[1m]"]),
            "user_id": st.sampled_from([None, str(ALICE), str(STRANGER), "nobody"]),
            "input_tokens": count,
            "output_tokens": count,
            "cache_read_input_tokens": count,
            "cache_creation_input_tokens": count,
            "latency_ms": st.one_of(st.none(), st.integers(0, 2_000_000_000)),
            "cost_usd": st.one_of(st.none(), st.floats(0, 10), st.sampled_from(["0.125", "-1", 7])),
            "session_id": st.one_of(st.none(), st.just(""), st.text(min_size=1, max_size=8).map(_printable)),
            "request_id": st.one_of(st.none(), st.just(""), st.just("req_é1")),
            "status": st.sampled_from([None, "ok", "error"]),
            "metadata": st.sampled_from([b"", b"null", b"{}", b'{"feature":"chat"}', b"[1]", TOO_LONG]),
        }
    )  # fmt: skip


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable()) or "s"


@pytest.mark.parametrize("tag_keys", [(), ("feature",)])
@settings(max_examples=300, deadline=None)
@given(shape=shapes())
def test_the_frame_is_the_same_to_the_byte(tag_keys: tuple[str, ...], shape: dict[str, Any]) -> None:
    org, project, team = UUID(int=1), UUID(int=2), UUID(int=3)
    key = KeyContext(
        key_id=UUID(int=4), org_id=org, project_id=project, name="k", prefix="mw", scopes=frozenset({"ingest"}),
        owner_id=None, team_id=None, project_team_id=None, rate_limit_per_minute=0, unlimited=True,
    )  # fmt: skip
    directory = Directory(org, {str(ALICE): ALICE}, {}, {ALICE: team}, tag_keys)
    window = Window.of(key, clock.now())
    one = EventCore(**{**shape, "metadata": msgspec.Raw(shape["metadata"])})
    with pytest.MonkeyPatch.context() as patch:
        units = {kind: Fraction(number + 1, 7) for number, kind in enumerate(TOKEN_KINDS)}
        book = PriceBook([PriceRow("claude-opus-5", None, 0, 2**62, units, {"context:>100k": Fraction(2)}, "list")])
        for module in ("apps.usage.ingest.what.get_book", "apps.usage.ingest.single.get_book"):
            patch.setattr(module, lambda: book)
        by_columns, alone = (
            build([one], key=key, directory=directory, window=window, check_nul=check) for check in (True, False)
        )
    assert (alone.accepted, alone.rejected, alone.unpriced) == (
        by_columns.accepted, by_columns.rejected, by_columns.unpriced,
    )  # fmt: skip
    assert alone.frame == by_columns.frame


def test_a_tracked_event_of_the_usual_kind_takes_the_short_way(
    world: World, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.usage.ingest import columns

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("a column of one was made")

    monkeypatch.setattr(columns, "Columns", never)
    body = event(org_id=str(world.org_id), session_id="s", request_id="r", metadata={"a": 1})
    answer = client.post(
        "/v1/track", body, content_type="application/json", headers={"Authorization": f"Bearer {world.token}"}
    )
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
