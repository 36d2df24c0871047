"""Events of many kinds, for hypothesis."""

from typing import Any
from uuid import uuid4

from hypothesis import strategies as st

from tests.usage.engine.conftest import moment

ALICE, STRANGER = uuid4(), uuid4()
TOO_LONG = b'{"a":"' + b"x" * 17_000 + b'"}'


def shapes(*, sound: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of an event, of every kind; only of such events as are taken where it has to be ``sound``."""

    def some(good: list[Any], bad: list[Any]) -> st.SearchStrategy[Any]:
        return st.sampled_from(good if sound else good + bad)

    count = st.one_of(st.none(), st.integers(0, 120_000), st.integers(0, 2_000_000_000))
    return st.fixed_dictionaries(
        {
            "event_id": st.one_of(st.uuids().map(str), *([] if sound else [st.sampled_from(["no", "", "A" * 32])])),
            "timestamp": some(
                [moment(seconds=1), moment(days=3), moment(days=3).replace("Z", "+00:00")],
                [moment(days=30), "yesterday"],
            ),
            "event_type": st.sampled_from(["api_call", "mcp_tool", "session"]),
            "model": st.sampled_from([None, "", "claude-opus-5", "Claude-Opus-5", "unheard-of", "claude-opus-5[1m]"]),
            "user_id": some([None, str(ALICE), str(STRANGER), str(ALICE).upper()], ["nobody"]),
            "input_tokens": count,
            "output_tokens": count,
            "cache_read_input_tokens": count,
            "cache_creation_input_tokens": count,
            "latency_ms": st.one_of(st.none(), st.integers(0, 2_000_000_000)),
            "cost_usd": st.one_of(st.none(), st.floats(0, 10), some(["0.125", 7], ["-1"])),
            "session_id": st.one_of(st.none(), st.just(""), st.text(min_size=1, max_size=8).map(_printable)),
            "request_id": st.one_of(st.none(), st.just(""), st.just("req_é1")),
            "status": st.sampled_from([None, "ok", "error"]),
            "metadata": some([b"", b"null", b"{}", b'{"feature":"chat"}'], [b"[1]", TOO_LONG]),
        }
    )  # fmt: skip


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable()) or "s"
