"""``GET /v1/sessions`` and ``/v1/sessions/{id}``."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import connection

from apps.core.tenancy import system_scope
from apps.usage.drain.fold import fold_all
from apps.usage.drain.merge import merge_chunks
from apps.usage.models import Person
from apps.usage.services import claim_person
from tests.cast import Api, Cast, make_key, rights_of
from tests.usage.engine.conftest import event, moment

pytestmark = pytest.mark.usefixtures("committed")


@pytest.fixture
def token(cast: Cast) -> str:
    return make_key(cast, scopes=("ingest", "read"))[1]


def send(token: str, *events: dict[str, Any]) -> None:
    response = Api(token=token).post("/v1/events", {"events": list(events)})
    assert response.json()["rejected"] == [], response.content


def sessions(cast: Cast, **query: Any) -> list[dict[str, Any]]:
    response = Api(cast.dora).get("/v1/sessions", query)
    assert response.status_code == 200, response.content
    data: list[dict[str, Any]] = response.json()["data"]
    return data


def test_a_session_sums_its_events_whether_folded_or_not(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    first, last = moment(minutes=30), moment(minutes=10)
    common = {"session_id": "s1", "user_id": str(cast.bob.id), "latency_ms": 5}
    send(token, event(timestamp=first, model="claude-opus-5", input_tokens=1000, output_tokens=0, **common))
    drain()
    send(
        token,
        event(timestamp=last, model="claude-haiku-5-5", input_tokens=0, output_tokens=2, status="error", **common),
        event(event_type="mcp_tool", timestamp=moment(minutes=20), model=None, mcp_tool="Bash", input_tokens=0,
              output_tokens=0, **common),
        event(timestamp=last),
    )  # fmt: skip
    drain()
    (found,) = sessions(cast)
    assert found["session_id"] == "s1"
    assert found["user_id"] == str(cast.bob.id)
    assert found["project_id"] == str(cast.project.id)
    assert found["models"] == ["claude-haiku-5-5", "claude-opus-5"]
    assert found["started_at"][:19] == first[:19]
    assert found["last_at"][:19] == last[:19]
    assert found["duration_ms"] // 1000 in (1199, 1200)
    assert found["metrics"] == {
        "events": 3, "calls": 2, "tool_calls": 1, "errors": 1, "input_tokens": 1000, "output_tokens": 2,
        "cache_read_tokens": 0, "cache_creation_tokens": 0, "cost_usd": "0.005001",
    }  # fmt: skip


def test_a_session_reads_with_its_timeline(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    name = "shift/7 é"
    events = [event(session_id=name, timestamp=moment(minutes=n)) for n in range(3, 0, -1)]
    send(token, *events, event(session_id="another"))
    drain()
    path = f"/v1/sessions/{quote(name)}"
    body = Api(cast.dora).get(path).json()
    assert body["metrics"]["calls"] == 3
    assert [row["event"]["event_id"] for row in body["timeline"]["data"]] == [sent["event_id"] for sent in events]
    assert body["timeline"]["next_cursor"] is None
    assert Api(cast.dora).get("/v1/sessions/nobody").status_code == 404
    assert Api(cast.charlie).get(path).status_code == 404
    answers = {role: api.get(path).status_code for role, api in rights_of(cast).items()}
    assert answers == {
        "owner": 200, "admin": 200, "developer": 200, "billing": 200, "viewer": 200, "stranger": 404, "nobody": 401,
    }  # fmt: skip


def tool(**fields: Any) -> dict[str, Any]:
    return event(event_type="mcp_tool", model=None, mcp_tool="Bash", input_tokens=0, output_tokens=0, **fields)


def test_a_timeline_tells_which_tools_ran_between_which_calls(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    start = datetime.now(UTC) - timedelta(minutes=5)

    def at(seconds: float) -> dict[str, Any]:
        return {"session_id": "s", "timestamp": (start + timedelta(seconds=seconds)).isoformat()}

    # They come in another order than they happened, in several batches, some merged with others.
    send(token, event(**at(30), latency_ms=900), tool(**at(12), latency_ms=40))
    drain()
    send(token, tool(**at(0), latency_ms=None), event(**at(10), latency_ms=1500), tool(**at(11), latency_ms=7))
    drain()
    rows = Api(cast.dora).get("/v1/sessions/s").json()["timeline"]["data"]
    assert [(row["offset_ms"], row["duration_ms"], row["kind"], row["turn"]) for row in rows] == [
        (0, None, "tool", 0), (10_000, 1500, "call", 1), (11_000, 7, "tool", 1), (12_000, 40, "tool", 1),
        (30_000, 900, "call", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("merged", [False, True])
def test_a_timelines_pages_hold_every_event_once_in_order(
    cast: Cast, token: str, drain: Callable[[], None], merged: bool
) -> None:
    same = moment(minutes=5)
    sent = [event(session_id="s", timestamp=same) for _ in range(7)]
    sent += [event(session_id="s", timestamp=moment(minutes=n)) for n in range(20)]
    for n, one in enumerate(sent):
        send(token, one, event(session_id="other"), tool(session_id="s", timestamp=moment(minutes=n)))
        drain()
    if merged:
        assert merge_chunks() > 0
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        query = {"limit": "4", **({"cursor": cursor} if cursor else {})}
        page = Api(cast.dora).get("/v1/sessions/s", query).json()["timeline"]
        seen += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    places = [(row["event"]["timestamp"], row["event"]["event_id"]) for row in seen]
    assert places == sorted(set(places))
    assert len(places) == 2 * len(sent)
    calls = [row["kind"] == "call" for row in seen]
    assert [row["turn"] for row in seen] == [sum(calls[: n + 1]) for n in range(len(seen))]


def test_a_timeline_refuses_what_it_does_not_know(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    send(token, event(session_id="s"))
    drain()
    api = Api(cast.dora)
    assert api.get("/v1/sessions/s", {"limit": "0"}).status_code == 400
    assert api.get("/v1/sessions/s", {"cursor": "made-up"}).status_code == 400


def test_a_session_is_active_until_it_was_silent_for_half_an_hour(
    cast: Cast, token: str, drain: Callable[[], None], settings: Any
) -> None:
    send(
        token,
        event(session_id="old", timestamp=moment(minutes=31)),
        event(session_id="new", timestamp=moment(minutes=29)),
    )
    drain()
    _fold_some()
    new, old = sessions(cast)
    assert (new["state"], new["ended_at"], new["idle_ms"] // 60_000) == ("active", None, 29)
    assert (old["state"], old["ended_at"], old["idle_ms"] // 60_000) == ("ended", old["last_at"], 31)
    assert [row["session_id"] for row in sessions(cast, **{"filter[state]": "active"})] == ["new"]
    assert [row["session_id"] for row in sessions(cast, **{"filter[state]": "ended"})] == ["old"]
    assert len(sessions(cast, **{"filter[state]": "active,ended"})) == 2
    assert Api(cast.dora).get("/v1/sessions", {"filter[state]": "asleep"}).status_code == 400
    settings.USAGE_SESSION_IDLE_SECONDS = 60
    assert Api(cast.dora).get("/v1/sessions/new").json()["state"] == "ended"


def test_pages_hold_every_session_once_the_latest_first(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    same = moment(minutes=9)
    send(token, *(event(session_id=f"s{n}", timestamp=same) for n in range(4)))
    send(token, *(event(session_id=f"t{n}", timestamp=moment(minutes=n + 1)) for n in range(3)))
    drain()
    _fold_some()
    seen, cursor = [], None
    while True:
        body = Api(cast.dora).get("/v1/sessions", {"limit": "2", **({"cursor": cursor} if cursor else {})}).json()
        seen += [row["session_id"] for row in body["data"]]
        cursor = body["next_cursor"]
        if cursor is None:
            break
    assert seen[:3] == ["t0", "t1", "t2"]
    assert sorted(seen[3:]) == ["s0", "s1", "s2", "s3"]


_LISTS = (
    "started_at, last_at, events, calls, tool_calls, errors, input_tokens, output_tokens, cache_read_tokens,"
    " cache_write_tokens, cost_nano"
)

_LISTED = ", ".join(f"array_agg({name})" for name in _LISTS.split(", "))


def _fold_some() -> None:
    """Half of the sessions lie folded, the others not: the list must not tell."""
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH waiting AS MATERIALIZED (SELECT * FROM usage_session_delta),"
            " gone AS (DELETE FROM usage_session_delta_pack), kept AS ("
            f" INSERT INTO usage_session_delta_pack (org, sessions, session, session_id, who, models, {_LISTS})"
            " SELECT org, count(*), array_agg(session), array_agg(session_id), array_agg(who),"
            f" array_agg(array_to_string(models, chr(31))), {_LISTED}"
            " FROM waiting WHERE session % 2 <> 0 GROUP BY org)"
            f" INSERT INTO usage_session (id, org, session_id, who, models, {_LISTS})"
            f" SELECT session, org, session_id, who, models, {_LISTS} FROM waiting WHERE session % 2 = 0"
        )


def test_sessions_are_found_by_person_project_and_period(cast: Cast, token: str, drain: Callable[[], None]) -> None:
    send(
        token,
        event(session_id="bobs", user_id=str(cast.bob.id), timestamp=moment(minutes=3)),
        event(session_id="doras", user_id=str(cast.dora.id), timestamp=moment(minutes=60)),
    )
    drain()
    _fold_some()

    def names(**query: str) -> list[str]:
        return [row["session_id"] for row in sessions(cast, **query)]

    assert names(**{"filter[user]": str(cast.bob.id)}) == ["bobs"]
    assert names(**{"filter[project]": str(cast.project.id)}) == ["bobs", "doras"]
    assert names(**{"filter[team]": ""}) == []
    assert names(start=moment(minutes=30)) == ["bobs"]
    assert names(end=moment(minutes=30)) == ["doras"]
    assert Api(cast.dora).get("/v1/sessions", {"filter[model]": "x"}).status_code == 400


def test_a_claimed_persons_usage_is_the_members_past_and_future(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    attributes = [
        {"key": name, "value": {"stringValue": value}}
        for name, value in {
            "event.name": "api_request", "user.email": "bob@home.example", "session.id": "evening",
            "model": "claude-opus-5", "input_tokens": "1000", "output_tokens": "0", "request_id": "req_9",
            "event.timestamp": moment(minutes=2),
        }.items()
    ]  # fmt: skip
    record = {"body": {"stringValue": "claude_code.api_request"}, "attributes": attributes}
    sent = Api(token=token).post("/otlp/v1/logs", {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]})
    assert sent.status_code == 200, sent.content
    drain()
    with system_scope("test"):
        person = Person.objects.get(email="bob@home.example")

    def by_user() -> set[str | None]:
        query = {"granularity": "none", "group_by": "user"}
        return {row["group"]["user"] for row in Api(cast.dora).get("/analytics/usage", query).json()["data"]}

    assert by_user() == {str(person.pk)}
    claim_person(org_id=cast.org.id, person_id=person.pk, user_id=cast.bob.id)
    assert by_user() == {str(cast.bob.id)}
    (session,) = sessions(cast, **{"filter[user]": str(cast.bob.id)})
    assert session["user_id"] == str(cast.bob.id)
    (row,) = Api(cast.dora).get("/v1/events", {"filter[user]": str(cast.bob.id)}).json()["data"]
    assert row["user_id"] == str(cast.bob.id)


def test_all_models_of_a_session_are_in_one_delta_and_in_the_session(
    cast: Cast, token: str, drain: Callable[[], None]
) -> None:
    for models in (("b", "a"), ("c", "a"), ("a",)):
        send(token, *(event(session_id="s", model=model, timestamp=moment(minutes=3)) for model in models))
        drain()
    with connection.cursor() as cursor:
        cursor.execute("SELECT models, events FROM usage_session_delta ORDER BY events DESC, models")
        assert cursor.fetchall() == [(["a", "b"], 2), (["a", "c"], 2), (["a"], 1)]
    for _ in range(2):
        (found,) = Api(cast.dora).get("/v1/sessions").json()["data"]
        assert (found["models"], found["metrics"]["events"]) == (["a", "b", "c"], 5)
        fold_all()
    plain = event(session_id="s", event_type="session", model=None, timestamp=moment(minutes=2))
    send(token, event(session_id="s", model="d", timestamp=moment(minutes=2)), plain)
    drain()
    fold_all()
    (found,) = Api(cast.dora).get("/v1/sessions").json()["data"]
    assert found["models"] == ["a", "b", "c", "d"]


def test_a_search_of_a_session_for_whom_it_never_had_looks_into_nothing(
    cast: Cast, token: str, drain: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, dora = str(cast.bob.id), str(cast.dora.id)
    send(token, event(session_id="of bob", user_id=bob), event(session_id="of dora", user_id=dora))
    send(token, *(event(session_id="of both", user_id=user, timestamp=moment(minutes=9)) for user in (bob, dora)))
    drain()

    def found(session: str, user: str) -> int:
        filters = urlencode({"filter[session_id]": session, "filter[user]": user})
        return len(Api(cast.dora).get(f"/v1/events?{filters}").json()["data"])

    def none_looked_into(*_: Any) -> list[Any]:
        raise AssertionError("it was looked into")

    for _ in range(2):
        assert [found(of, user) for of in ("of bob", "of dora", "of both") for user in (bob, dora)] == [
            1,
            0,
            0,
            1,
            1,
            1,
        ]
        with monkeypatch.context() as patch:
            patch.setattr("apps.usage.selectors.raw._rows", none_looked_into)
            assert [found("of bob", dora), found("of dora", bob)] == [0, 0]
        fold_all()
    # One that came later is known from its delta.
    send(token, event(session_id="of bob", user_id=dora, timestamp=moment(minutes=1)))
    drain()
    assert (found("of bob", dora), found("of bob", bob)) == (1, 1)
    fold_all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_id, cardinality(whos) FROM usage_session ORDER BY 1")
        assert cursor.fetchall() == [("of bob", 2), ("of both", 2), ("of dora", 1)]
        # Of one from before this was kept, or of too many, all is looked into.
        cursor.execute("UPDATE usage_session SET whos = NULL")
    assert [found("of bob", dora), found("of dora", bob)] == [1, 0]
    send(token, event(session_id="of dora", user_id=dora, timestamp=moment(minutes=1)))
    drain()
    fold_all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT whos FROM usage_session WHERE session_id = 'of dora'")
        assert cursor.fetchone() == (None,)


def test_whos_of_a_session_are_kept_up_to_a_number(
    cast: Cast, token: str, drain: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.drain.rows.MOST_WHOS", 2)
    monkeypatch.setattr("apps.usage.drain.fold.MOST_WHOS", 2)
    people = [str(person.id) for person in (cast.bob, cast.dora, cast.alice)]

    def kept() -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT session_id, cardinality(whos) FROM usage_session ORDER BY 1")
            return cursor.fetchall()

    send(token, *(event(session_id="at once", user_id=user) for user in people))
    drain()
    for user in people:
        send(token, event(session_id="one by one", user_id=user))
        drain()
    fold_all()
    assert kept() == [("at once", None), ("one by one", None)]
    for user in people[:2]:
        send(token, event(session_id="fold by fold", user_id=user))
        drain()
        fold_all()
    assert kept()[1] == ("fold by fold", 2)
    send(token, event(session_id="fold by fold", user_id=people[2]))
    drain()
    fold_all()
    assert kept()[1] == ("fold by fold", None)
