"""``GET /v1/events``: raw events as they were counted, newest first."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from apps.core import clock
from apps.usage.selectors.raw import event_search
from apps.usage.services import register_tag_key
from tests.cast import Api, Cast, make_key, rights_of
from tests.usage.engine.conftest import event, moment

pytestmark = pytest.mark.usefixtures("committed")

PATH = "/v1/events"


@pytest.fixture
def token(cast: Cast) -> str:
    return make_key(cast, scopes=("ingest", "read"))[1]


def send(token: str, *events: dict[str, Any]) -> None:
    response = Api(token=token).post(PATH, {"events": list(events)})
    assert response.status_code == 202, response.content
    assert response.json()["rejected"] == []


def found(cast: Cast, **query: Any) -> list[dict[str, Any]]:
    response = Api(cast.dora).get(PATH, query)
    assert response.status_code == 200, response.content
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def test_an_event_reads_as_it_was_sent_and_counted(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    register_tag_key(org_id=cast.org.id, key="department")
    sent = event(
        event_id=str(uuid4()), timestamp=moment(minutes=1), model="claude-opus-5-5-20260801", user_id=str(cast.bob.id),
        input_tokens=1200, output_tokens=42, cache_read_input_tokens=5000, cache_creation_input_tokens=300,
        cache_creation={"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100}, inference_geo="us",
        server_tool_use={"web_search_requests": 1, "web_fetch_requests": 2}, latency_ms=321, session_id="s/1 é",
        request_id="req_1", stop_reason="tool_use", source="sdk", cost_usd="0.5",
        metadata={"department": "dyes", "nested": {"a": [1, None]}},
    )  # fmt: skip
    send(token, sent)
    drain()
    (body,) = found(cast)
    assert body == {
        "event_id": sent["event_id"],
        "timestamp": body["timestamp"],
        "org_id": str(cast.org.id),
        "project_id": str(cast.project.id),
        "user_id": str(cast.bob.id),
        "team_id": str(cast.team.id),
        "key_id": body["key_id"],
        "event_type": "api_call",
        "model": "claude-opus-5-5",
        "input_tokens": 1200,
        "output_tokens": 42,
        "cache_read_input_tokens": 5000,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 2},
        "latency_ms": 321,
        "cost_usd": "0.019284",
        "cost_source": "price_book",
        "reported_cost_usd": "0.500000",
        "status": "ok",
        "error_type": None,
        "stop_reason": "tool_use",
        "service_tier": None,
        "inference_geo": "us",
        "speed": None,
        "session_id": "s/1 é",
        "request_id": "req_1",
        "mcp_server": None,
        "mcp_tool": None,
        "source": "sdk",
        "tags": {"department": "dyes"},
        "metadata": {"department": "dyes", "nested": {"a": [1, None]}},
    }
    assert datetime.fromisoformat(body["timestamp"]) == datetime.fromisoformat(sent["timestamp"])


def test_pages_hold_every_event_once_newest_first_though_many_share_a_moment(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    same = moment(minutes=5)
    events = [event(timestamp=same) for _ in range(7)] + [event(timestamp=moment(minutes=n)) for n in (1, 2, 60)]
    send(token, *events)
    drain()
    seen, cursor = [], None
    while True:
        body = Api(cast.dora).get(PATH, {"limit": "3", **({"cursor": cursor} if cursor else {})}).json()
        seen += body["data"]
        cursor = body["next_cursor"]
        if cursor is None:
            break
        assert len(body["data"]) == 3
    assert sorted(row["event_id"] for row in seen) == sorted(sent["event_id"] for sent in events)
    times = [row["timestamp"] for row in seen]
    assert times == sorted(times, reverse=True)


def test_events_are_found_by_any_field(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    register_tag_key(org_id=cast.org.id, key="department")
    one = event(
        request_id="req_7", session_id="night shift", service_tier="batch", speed="fast", inference_geo="us",
        status="error", error_type="overloaded_error", stop_reason="max_tokens", metadata={"department": "dyes"},
        user_id=str(cast.bob.id), source="sdk",
    )  # fmt: skip
    tool = event(
        event_type="mcp_tool", model=None, mcp_server="files", mcp_tool="read", input_tokens=0, output_tokens=0
    )
    odd = event(model="claude-fable-5-2", stop_reason="something_new", status="ok")
    send(token, one, tool, odd)
    drain()

    def ids(**filters: str) -> list[str]:
        rows = found(cast, **{f"filter[{name}]": value for name, value in filters.items()})
        return [row["event_id"] for row in rows]

    for name, value in {
        "event_id": one["event_id"], "request_id": "req_7", "session_id": "night shift", "service_tier": "batch",
        "speed": "fast", "inference_geo": "us", "status": "error", "error_type": "overloaded_error",
        "stop_reason": "max_tokens", "tag:department": "dyes", "user": str(cast.bob.id), "source": "sdk",
    }.items():  # fmt: skip
        assert ids(**{name: value}) == [one["event_id"]], name
    for name, value in {"event_type": "mcp_tool", "mcp_server": "files", "mcp_tool": "read", "model": ""}.items():
        assert ids(**{name: value}) == [tool["event_id"]], name
    assert ids(cost_source="unpriced") == [odd["event_id"]]
    assert [row["stop_reason"] for row in found(cast, **{"filter[event_type]": "mcp_tool"})] == [None]
    assert ids(stop_reason="something_new") == [odd["event_id"]]
    assert sorted(ids(session_id="")) == sorted([tool["event_id"], odd["event_id"]])
    assert ids(model="claude-fable-5-2", status="error") == []
    assert ids(session_id="day shift") == []


def test_an_event_is_found_by_its_id_when_its_id_is_no_longer_remembered(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    old, nowhere = event(), str(uuid4())
    send(token, old)
    drain()
    assert found(cast, **{"filter[event_id]": nowhere}) == []
    assert found(cast, **{"filter[event_id]": "no id"}) == []
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_id_segment")
    later = datetime.now(UTC) + timedelta(days=9)
    with clock.freeze(later):
        rows = event_search(org_id=cast.org.id, filters={"event_id": [old["event_id"]]}, limit=5)
    assert [str(row.event_id) for row in rows] == [old["event_id"]]


def test_an_unpriced_event_has_no_cost_rather_than_none_at_all(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    send(token, event(model="claude-fable-5-2"), event(model="claude-fable-5-2", cost_usd=1.5))
    drain()
    costs = {(row["cost_source"], row["cost_usd"], row["reported_cost_usd"]) for row in found(cast)}
    assert costs == {("unpriced", None, None), ("reported", "1.500000", "1.500000")}


def test_the_period_is_half_open(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    at = datetime.now(UTC) - timedelta(minutes=3)
    send(token, event(timestamp=at.isoformat()))
    drain()
    second = timedelta(seconds=1)
    assert len(found(cast, start=at.isoformat(), end=(at + second).isoformat())) == 1
    assert found(cast, start=(at - second).isoformat(), end=at.isoformat()) == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"start": "today"}, "start"),
        ({"end": "2026-11-01T00:00:00"}, "end"),
        ({"start": "2026-11-02T00:00:00Z", "end": "2026-11-01T00:00:00Z"}, "end"),
        ({"filter[colour]": "red"}, "filter[colour]"),
        ({"filter[tag:unknown]": "x"}, "filter[tag:unknown]"),
        ({"filter[model]": "x" * 300}, "filter[model]"),
        ({"filter[request_id]": "a\0b"}, "filter[request_id]"),
        ({"limit": "201"}, "limit"),
        ({"cursor": "made-up"}, "cursor"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_parameter_is_named(cast: Cast, query: dict[str, str], pointer: str) -> None:
    response = Api(cast.dora).get(PATH, query)
    assert response.status_code == 400, response.content
    assert [problem["pointer"] for problem in response.json()["errors"]] == [pointer]


def test_who_may_read_events(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    send(token, event())
    drain()
    answers = {role: api.get(PATH) for role, api in rights_of(cast).items()}
    assert {role: answer.status_code for role, answer in answers.items()} == {
        "owner": 200, "admin": 200, "developer": 200, "billing": 200, "viewer": 200, "stranger": 200, "nobody": 401,
    }  # fmt: skip
    assert answers["stranger"].json()["data"] == []
    assert Api(cast.charlie).get(PATH, X_Org_Id=str(cast.org.id)).status_code == 404
    assert len(Api(token=token).get(PATH).json()["data"]) == 1
    blind = make_key(cast, scopes=("ingest",), name="blind")[1]
    assert Api(token=blind).get(PATH).status_code == 403


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_are_not_offered(cast: Cast, method: str) -> None:
    response = Api(cast.alice)(method, PATH)
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD, OPTIONS, POST"
