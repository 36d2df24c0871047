"""``GET /analytics/usage``: exact sums in the common shape."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.usage.services import register_tag_key
from tests.cast import Api, Cast, make_key, rights_of
from tests.usage.engine.conftest import event, moment

pytestmark = pytest.mark.usefixtures("committed")

PATH = "/analytics/usage"


def send(token: str, *events: dict[str, Any]) -> None:
    response = Api(token=token).post("/v1/events", {"events": list(events)})
    assert response.status_code == 202, response.content
    assert response.json()["rejected"] == []


@pytest.fixture
def token(cast: Cast) -> str:
    return make_key(cast, scopes=("ingest", "read", "backfill"))[1]


def read(cast: Cast, **query: Any) -> dict[str, Any]:
    response = Api(cast.dora).get(PATH, query)
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def pointers(cast: Cast, **query: Any) -> dict[str, str]:
    response = Api(cast.dora).get(PATH, query)
    assert response.status_code == 400, response.content
    assert response.json()["code"] == "validation_failed"
    return {problem["pointer"]: problem["detail"] for problem in response.json()["errors"]}


def test_the_answer_has_the_common_shape_and_exact_sums(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    send(
        token,
        event(model="claude-opus-5", input_tokens=1000, output_tokens=7, cache_read_input_tokens=3, latency_ms=100),
        event(model="claude-haiku-5-5", input_tokens=1, output_tokens=1, cache_creation_input_tokens=9, latency_ms=300),
        event(model="claude-opus-5", status="error", error_type="overloaded_error", input_tokens=0, output_tokens=0),
        event(event_type="mcp_tool", model=None, mcp_server="files", mcp_tool="read", input_tokens=0, output_tokens=0),
        event(model="claude-fable-5-2", input_tokens=5, output_tokens=5),
    )
    drain()
    before = datetime.now(UTC)
    body = read(cast, granularity="none", group_by="model")
    assert body.keys() == {"data", "totals", "period", "as_of", "next_cursor"}
    assert body["next_cursor"] is None
    assert datetime.fromisoformat(body["as_of"]) >= before - timedelta(seconds=1)
    assert body["period"]["granularity"] == "none"
    assert body["period"]["timezone"] == "UTC"
    totals = body["totals"]
    assert {name: totals[name] for name in ("events", "calls", "tool_calls", "errors", "call_errors", "unpriced")} == {
        "events": 5, "calls": 4, "tool_calls": 1, "errors": 1, "call_errors": 1, "unpriced": 1,
    }  # fmt: skip
    assert (totals["input_tokens"], totals["output_tokens"]) == (1006, 13)
    assert (totals["cache_read_tokens"], totals["cache_creation_tokens"]) == (3, 9)
    opus = Decimal("0.005") + 7 * Decimal("0.000025") + 3 * Decimal("0.0000005")
    # 1 × 100 + 1 × 500 + 9 × 125 nano-USD
    haiku = Decimal("0.000001725")
    costs = {row["group"]["model"]: row["metrics"]["cost_usd"] for row in body["data"]}
    assert costs == {
        "claude-opus-5": "0.0051765",
        "claude-haiku-5-5": "0.000001725",
        "claude-fable-5-2": "0.000000",
        None: "0.000000",
    }
    assert Decimal(totals["cost_usd"]) == opus + haiku
    assert all(row["start"] is None for row in body["data"])


def test_days_and_hours_are_those_of_the_time_zone_asked_for(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    # 20:00 UTC is 01:30 of the next day in Kolkata, 15:00 of the same day in Lima.
    day = (datetime.now(UTC) - timedelta(days=3)).replace(hour=20, minute=0, second=0, microsecond=0)
    send(token, event(timestamp=day.isoformat()))
    drain()
    for zone, offset in (("Asia/Kolkata", timedelta(hours=5, minutes=30)), ("America/Lima", timedelta(hours=-5))):
        local = day + offset
        for granularity, start in (
            ("day", local.replace(hour=0)),
            ("hour", local),
            ("week", (local - timedelta(days=local.weekday())).replace(hour=0)),
            ("month", local.replace(day=1, hour=0)),
        ):
            body = read(cast, timezone=zone, granularity=granularity)
            expected = start.replace(minute=0) - offset
            assert [datetime.fromisoformat(row["start"]) for row in body["data"]] == [expected], (zone, granularity)


def test_the_period_is_half_open(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    at = (datetime.now(UTC) - timedelta(hours=2)).replace(second=0, microsecond=0)
    send(token, event(timestamp=at.isoformat()))
    drain()

    def calls(start: datetime, end: datetime) -> int:
        total: int = read(
            cast, start=start.isoformat(), end=end.isoformat(), granularity="minute"
        )["totals"]["calls"]  # fmt: skip
        return total

    minute = timedelta(minutes=1)
    assert calls(at, at + minute) == 1
    assert calls(at - minute, at) == 0
    assert calls(at + minute, at + 2 * minute) == 0


def test_people_projects_keys_teams_and_tags_are_dimensions(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    register_tag_key(org_id=cast.org.id, key="department")
    send(
        token,
        event(user_id=str(cast.bob.id), metadata={"department": "dyes"}, source="sdk"),
        event(user_id=str(cast.dora.id), metadata={"department": "looms"}),
        event(),
    )
    drain()

    def calls_by(name: str) -> dict[str | None, int]:
        rows = read(cast, granularity="none", group_by=name)["data"]
        return {row["group"][name]: row["metrics"]["calls"] for row in rows}

    assert calls_by("user")[str(cast.bob.id)] == 1
    assert calls_by("project") == {str(cast.project.id): 3}
    assert calls_by("team") == {str(cast.team.id): 3}
    assert list(calls_by("key").values()) == [3]
    assert calls_by("tag:department") == {"dyes": 1, "looms": 1, None: 1}
    assert calls_by("source")["sdk"] == 1
    assert calls_by("status") == {"ok": 3}
    both = read(cast, granularity="none", group_by="user,tag:department")["data"]
    assert {"user": str(cast.bob.id), "tag:department": "dyes"} in [row["group"] for row in both]


def test_filters_keep_some_values_and_an_empty_one_is_what_is_not_known(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    send(
        token,
        event(model="claude-opus-5"),
        event(model="claude-opus-5-20260101"),
        event(model="claude-haiku-5-5"),
        event(event_type="mcp_tool", model=None, mcp_tool="read"),
    )
    drain()

    def events(**filters: str) -> int:
        total: int = read(cast, **{f"filter[{name}]": value for name, value in filters.items()})["totals"]["events"]
        return total

    assert events(model="claude-opus-5") == 2
    assert events(model="claude-opus-5,claude-haiku-5-5") == 3
    assert events(model="") == 1
    assert events(model="claude-opus-5", event_type="mcp_tool") == 0
    assert events(project=str(cast.project.id)) == 4
    assert events(project="not-an-id") == 0


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"granularity": "second"}, "granularity"),
        ({"timezone": "Moon/Crater"}, "timezone"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-11-01T10:00:00"}, "start"),
        ({"end": "9999-12-31T23:59:59Z"}, "end"),
        ({"start": "2026-11-02", "end": "2026-11-01"}, "end"),
        ({"start": "2026-11-02", "end": "2026-11-02"}, "end"),
        ({"start": "2026-11-02T00:00:01Z"}, "start"),
        ({"group_by": "model,model"}, "group_by"),
        ({"group_by": "colour"}, "group_by"),
        ({"group_by": "tag:nobody-registered-this"}, "group_by"),
        ({"filter[colour]": "red"}, "filter[colour]"),
        ({"colour": "red"}, "colour"),
        ({"granularity": "minute", "start": "2026-01-01", "end": "2026-02-01"}, "start"),
    ],
)
def test_a_wrong_parameter_is_named(cast: Cast, token: str, drain: Callable[[], None], query, pointer) -> None:
    send(token, event())
    drain()
    assert pointer in pointers(cast, **query)


def test_who_may_read_usage(cast: Cast, token: str) -> None:
    answers = {role: api.get(PATH).status_code for role, api in rights_of(cast).items()}
    assert answers == {
        "owner": 200, "admin": 200, "developer": 200, "billing": 200, "viewer": 200, "stranger": 200, "nobody": 401,
    }  # fmt: skip
    foreign = Api(cast.charlie).get(PATH, X_Org_Id=str(cast.org.id))
    assert foreign.status_code == 404
    assert Api(token=token).get(PATH).status_code == 200
    _, blind = make_key(cast, scopes=("ingest",), name="blind")
    assert Api(token=blind).get(PATH).status_code == 403


def test_an_organisation_never_sees_anothers_usage(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    send(token, event())
    drain()
    theirs = Api(cast.charlie).get(PATH, {"granularity": "none", "group_by": "project"}).json()
    assert theirs["data"] == []
    assert theirs["totals"]["events"] == 0


def test_old_usage_comes_from_coarser_sums(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    send(token, event(timestamp=moment(days=200)), event(timestamp=moment(days=200)))
    drain()
    start = (datetime.now(UTC) - timedelta(days=210)).date().isoformat()
    assert read(cast, start=start, granularity="month")["totals"]["calls"] == 2
    assert read(cast, start=start, granularity="day", timezone="Asia/Kolkata")["totals"]["calls"] == 2
