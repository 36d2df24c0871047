"""`POST /v1/events` and `/v1/track`: what is taken, what is refused, and how it is said."""

import gzip
import json
from typing import Any
from uuid import uuid4

import pytest
import zstandard
from django.test import Client

from apps.core.database import connect
from apps.usage.errors import InboxFull
from apps.usage.ingest.inbox import gauge
from tests.usage.engine.conftest import World, event, make_world, moment, value


def post(world: World, body: Any, path: str = "/v1/events", **headers: Any) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers.setdefault("content_type", "application/json")
    headers.setdefault("HTTP_AUTHORIZATION", f"Bearer {world.token}")
    return Client().post(path, data=data, **headers)


def waiting() -> int:
    return int(value("SELECT coalesce(sum(events), 0) FROM usage_inbox"))


def test_a_batch_is_accepted_and_waits_in_the_inbox(world: World) -> None:
    response = post(world, {"events": [event(), event()]})
    assert response.status_code == 202
    assert response.json() == {"accepted": 2, "duplicates": 0, "rejected": []}
    assert waiting() == 2


def test_everything_an_event_may_carry_is_taken(world: World) -> None:
    full = event(
        org_id=str(world.org_id), project_id=str(world.project_id), user_id=str(world.alice), cost_usd="0.0118",
        cache_read_input_tokens=5000, cache_creation_input_tokens=300,
        cache_creation={"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
        server_tool_use={"web_search_requests": 1, "web_fetch_requests": 2}, service_tier="standard",
        inference_geo="us", speed="fast", session_id="s1", request_id="req_1", status="error",
        error_type="overloaded_error", stop_reason="end_turn", mcp_server="github", mcp_tool="create_issue",
        source="sdk", metadata={"feature": "chat", "nested": {"a": [1, 2]}},
    )  # fmt: skip
    assert post(world, {"events": [full]}).json()["accepted"] == 1


def test_nulls_stand_for_absent_fields(world: World) -> None:
    nulls = dict.fromkeys(
        ("model", "input_tokens", "output_tokens", "latency_ms", "cost_usd", "user_id", "org_id", "project_id",
         "session_id", "request_id", "status", "metadata", "source", "cache_creation"),
    )  # fmt: skip
    assert (
        post(
            world,
            {
                "events": [
                    event(
                        **nulls,
                    )
                ]
            },
        ).json()["accepted"]
        == 1
    )


@pytest.mark.parametrize(
    "content_type", ["application/x-ndjson", "application/jsonl; charset=utf-8", "application/json"]
)
def test_one_event_a_line_is_taken_too(world: World, content_type: str) -> None:
    body = b"\n".join(json.dumps(event()).encode() for _ in range(3)) + b"\n"
    assert post(world, body, content_type=content_type).json()["accepted"] == 3


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_compressed_bodies_are_taken(world: World, encoding: str) -> None:
    body = json.dumps({"events": [event()]}).encode()
    packed = gzip.compress(body) if encoding == "gzip" else zstandard.ZstdCompressor().compress(body)
    assert post(world, packed, HTTP_CONTENT_ENCODING=encoding).json()["accepted"] == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_too_large(world: World, settings: Any, encoding: str) -> None:
    settings.MAX_INFLATED_BYTES = 1_000_000
    body = b" " * 50_000_000
    packed = gzip.compress(body) if encoding == "gzip" else zstandard.ZstdCompressor().compress(body)
    response = post(world, packed, HTTP_CONTENT_ENCODING=encoding)
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")


def test_a_body_over_the_limit_is_too_large(world: World, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 1000
    response = post(world, {"events": [event(metadata={"x": "y" * 2000})]})
    assert (response.status_code, waiting()) == (413, 0)


@pytest.mark.parametrize(("encoding", "status"), [("gzip", 400), ("zstd", 400), ("br", 415)])
def test_a_body_that_is_not_what_it_says_is_a_clear_problem(world: World, encoding: str, status: int) -> None:
    response = post(world, b'{"events": []}', HTTP_CONTENT_ENCODING=encoding)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body",
    [b"", b"nonsense", b'{"events": [', b'{"events": [{]}', b"\xff\xfe", b'{"events":' + b"[" * 100_000, b'"\\ud800"'],
)
def test_malformed_json_is_a_clear_problem(world: World, body: bytes) -> None:
    response = post(world, body)
    problem = response.json()
    assert response.status_code == 400
    assert problem["code"] in {"malformed_json", "invalid_type"}
    assert problem["correlation_id"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/events"),
        ({"events": {}}, "/events"),
        ({"events": [], "more": 1}, "/more"),
        ([], ""),
        ({"events": []}, "/events"),
    ],
)
def test_a_body_of_another_shape_says_what_is_missing(world: World, body: Any, pointer: str) -> None:
    response = post(world, body)
    assert response.status_code == 400
    assert [error["pointer"] for error in response.json()["errors"]] == [pointer]


def test_five_thousand_events_are_taken_and_one_more_is_too_many(world: World) -> None:
    shape = event()
    events = [{**shape, "event_id": str(uuid4())} for _ in range(5001)]
    response = post(world, {"events": events})
    assert (response.status_code, response.json()["code"]) == (413, "too_many_events")
    assert waiting() == 0
    assert post(world, {"events": events[:5000]}).json()["accepted"] == 5000


def test_too_many_events_are_refused_even_when_one_is_bad(world: World) -> None:
    events = [{"bad": True}] * 5001
    assert post(world, {"events": events}).status_code == 413


BAD = [
    ({"event_id": "x"}, "invalid_id", "/event_id"),
    ({"event_id": None}, "invalid_type", "/event_id"),
    ({"timestamp": "yesterday"}, "invalid_timestamp", "/timestamp"),
    ({"timestamp": "2026-11-23T10:00:00"}, "invalid_timestamp", "/timestamp"),
    ({"timestamp": 5}, "invalid_type", "/timestamp"),
    ({"timestamp": "2036-11-23T10:00:00Z"}, "timestamp_in_future", "/timestamp"),
    ({"timestamp": "2016-11-23T10:00:00Z"}, "timestamp_too_old", "/timestamp"),
    ({"timestamp": moment(days=-1)}, "timestamp_in_future", "/timestamp"),
    ({"timestamp": moment(days=7, minutes=1)}, "timestamp_too_old", "/timestamp"),
    ({"input_tokens": -1}, "negative_number", "/input_tokens"),
    ({"output_tokens": "12"}, "invalid_type", "/output_tokens"),
    ({"output_tokens": 1.5}, "invalid_type", "/output_tokens"),
    ({"latency_ms": 10**12}, "out_of_range", "/latency_ms"),
    (
        {"cache_creation": {"ephemeral_5m_input_tokens": -1}},
        "negative_number",
        "/cache_creation/ephemeral_5m_input_tokens",
    ),
    ({"server_tool_use": {"other": 1}}, "unknown_field", "/server_tool_use/other"),
    ({"event_type": "party"}, "invalid_choice", "/event_type"),
    ({"status": "fine"}, "invalid_choice", "/status"),
    ({"model": "m" * 201}, "too_long", "/model"),
    ({"model": "a\u0000b"}, "invalid_character", "/model"),
    ({"surprise": 1}, "unknown_field", "/surprise"),
    ({"user_email": "a@b.c"}, "unknown_field", "/user_email"),
    ({"org_id": str(uuid4())}, "foreign_org", "/org_id"),
    ({"project_id": str(uuid4())}, "foreign_project", "/project_id"),
    ({"org_id": "acme"}, "invalid_id", "/org_id"),
    ({"user_id": "alice"}, "invalid_id", "/user_id"),
    ({"cost_usd": -0.5}, "invalid_cost", "/cost_usd"),
    ({"cost_usd": "NaN"}, "invalid_cost", "/cost_usd"),
    ({"cost_usd": "lots"}, "invalid_cost", "/cost_usd"),
    ({"cost_usd": True}, "invalid_type", "/cost_usd"),
    ({"cost_usd": 1e300}, "invalid_cost", "/cost_usd"),
    ({"metadata": []}, "invalid_type", "/metadata"),
    ({"metadata": "text"}, "invalid_type", "/metadata"),
    ({"metadata": {"x": "y" * 20_000}}, "too_long", "/metadata"),
]


@pytest.mark.parametrize(("fields", "code", "pointer"), BAD, ids=[f"{code}-{i}" for i, (_, code, _) in enumerate(BAD)])
def test_one_bad_event_never_costs_the_batch(world: World, fields: dict[str, Any], code: str, pointer: str) -> None:
    bad = event(**fields)
    response = post(world, {"events": [event(), bad, event()]})
    assert response.status_code == 202
    body = response.json()
    assert (body["accepted"], body["duplicates"]) == (2, 0)
    (rejected,) = body["rejected"]
    assert (rejected["index"], rejected["code"], rejected["pointer"]) == (1, code, f"/events/1{pointer}")
    assert rejected["event_id"] == bad["event_id"]
    assert rejected["detail"]
    assert waiting() == 2


@pytest.mark.parametrize("field", ["event_id", "timestamp", "event_type"])
def test_a_required_field_that_is_missing_is_named(world: World, field: str) -> None:
    bad = event()
    del bad[field]
    (rejected,) = post(world, {"events": [bad]}).json()["rejected"]
    assert (rejected["code"], rejected["pointer"]) == ("missing_field", f"/events/0/{field}")


def test_a_broken_line_is_refused_alone(world: World) -> None:
    body = b"\n".join([json.dumps(event()).encode(), b'{"event_id": ', json.dumps(event()).encode()])
    answer = post(world, body, content_type="application/x-ndjson").json()
    assert answer["accepted"] == 2
    assert [(r["index"], r["code"]) for r in answer["rejected"]] == [(1, "malformed_json")]


def test_metadata_may_hold_anything_even_what_postgresql_cannot(world: World) -> None:
    assert post(world, {"events": [event(metadata={"a": "x\u0000y", "b": "\U0001f600"})]}).json()["accepted"] == 1


def test_all_reasons_of_a_mixed_batch_are_listed_in_order(world: World) -> None:
    events = [event(event_id="x"), event(), event(input_tokens=-1), event(org_id=str(uuid4())), event()]
    answer = post(world, {"events": events}).json()
    assert answer["accepted"] == 2
    assert [r["index"] for r in answer["rejected"]] == [0, 2, 3]


def test_repeats_inside_a_request_are_told(world: World) -> None:
    first = event()
    upper = {**first, "event_id": first["event_id"].upper()}
    assert post(world, {"events": [first, first, event(), upper]}).json() == {
        "accepted": 2, "duplicates": 2, "rejected": []
    }  # fmt: skip


def test_a_rejected_event_does_not_stand_in_for_its_good_repeat(world: World) -> None:
    good = event()
    answer = post(world, {"events": [{**good, "cost_usd": "x"}, good]}).json()
    assert (answer["accepted"], answer["duplicates"], len(answer["rejected"])) == (1, 0, 1)


def test_a_backfill_key_may_go_back_400_days(db: None) -> None:
    world = make_world("old", scopes=["ingest", "backfill"])
    answer = post(world, {"events": [event(timestamp=moment(days=399)), event(timestamp=moment(days=401))]}).json()
    assert answer["accepted"] == 1
    assert answer["rejected"][0]["code"] == "timestamp_too_old"


@pytest.mark.parametrize(
    "header",
    [{"HTTP_AUTHORIZATION": ""}, {"HTTP_AUTHORIZATION": "Bearer mw_wrong"}, {"HTTP_AUTHORIZATION": "Basic eDp5"}],
)
def test_without_a_working_key_nothing_is_taken(world: World, header: dict[str, str]) -> None:
    response = post(world, {"events": [event()]}, **header)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"]
    assert waiting() == 0


def test_the_key_may_come_as_x_api_key(world: World) -> None:
    response = post(world, {"events": [event()]}, HTTP_AUTHORIZATION="", HTTP_X_API_KEY=world.token)
    assert response.status_code == 202


def test_a_key_without_the_scope_is_told_so(db: None) -> None:
    world = make_world("reader", scopes=["read"])
    response = post(world, {"events": [event()]})
    assert (response.status_code, response.json()["code"], waiting()) == (403, "scope_missing", 0)


def test_a_limited_key_gets_headers_and_then_429(db: None) -> None:
    world = make_world("slow", rate_limit_per_minute=2)
    first = post(world, {"events": [event()]})
    assert first.status_code == 202
    assert "RateLimit" in first.headers
    assert "RateLimit-Policy" in first.headers
    assert post(world, {"events": [event()]}).status_code == 202
    third = post(world, {"events": [event()]})
    assert (third.status_code, third.json()["code"], waiting()) == (429, "rate_limited", 2)
    assert int(third.headers["Retry-After"]) >= 1


def test_track_takes_one_event(world: World) -> None:
    response = post(world, event(), path="/v1/track")
    assert (response.status_code, response.json()["accepted"], waiting()) == (202, 1, 1)


@pytest.mark.parametrize(("fields", "code", "pointer"), [BAD[0], BAD[5], BAD[9], BAD[18], BAD[19], BAD[21]])
def test_track_says_what_is_wrong_as_a_problem(world: World, fields: dict[str, Any], code: str, pointer: str) -> None:
    response = post(world, event(**fields), path="/v1/track")
    problem = response.json()
    assert (response.status_code, problem["code"], waiting()) == (400, code, 0)
    assert problem["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("path", ["/v1/events", "/v1/track"])
def test_other_methods_are_named_as_not_offered(world: World, path: str) -> None:
    response = Client().put(path, HTTP_AUTHORIZATION=f"Bearer {world.token}")
    assert response.status_code == 405
    assert "POST" in response.headers["Allow"]


def test_health_tells_how_far_counting_is_behind(world: World) -> None:
    post(world, {"events": [event()]})
    body = Client().get("/v1/health").json()
    assert body["status"] == "ok"
    assert (body["inbox"]["batches"], body["inbox"]["events"]) == (1, 1)


def test_a_full_inbox_answers_429_and_takes_nothing(world: World, settings: Any) -> None:
    settings.USAGE_INBOX_MAX_EVENTS = 3
    assert post(world, {"events": [event(), event()]}).status_code == 202
    response = post(world, {"events": [event(), event()]})
    assert (response.status_code, response.json()["code"]) == (429, "inbox_full")
    assert int(response.headers["Retry-After"]) >= 1
    assert waiting() == 2
    assert post(world, {"events": [event()]}).status_code == 202


def test_the_gateways_own_events_have_room_that_nobody_else_can_take(world: World, settings: Any) -> None:
    settings.USAGE_INBOX_MAX_EVENTS, settings.USAGE_INBOX_RESERVED_EVENTS = 2, 3
    assert post(world, {"events": [event(), event()]}).status_code == 202
    assert post(world, {"events": [event()]}).status_code == 429
    gauge.admit(3, reserved=True)
    with pytest.raises(InboxFull):
        gauge.admit(1, reserved=True)


def test_a_disk_that_is_nearly_full_answers_429(world: World, settings: Any) -> None:
    settings.USAGE_MIN_FREE_BYTES = 1 << 60
    response = post(world, {"events": [event()]})
    assert (response.status_code, response.json()["code"], waiting()) == (429, "inbox_full", 0)


@pytest.mark.parametrize("events", [1, 300])
def test_a_database_that_went_away_comes_back_within_a_request(committed: None, events: int) -> None:
    world = make_world("gone")
    batch = {"events": [event() for _ in range(events)]}
    assert post(world, batch).status_code == 202
    with connect() as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
    gauge.reset()
    # A connection that was looked at within the second is found dead by the request itself, which then is refused.
    first = post(world, batch)
    assert first.status_code in {202, 503}
    if first.status_code == 503:
        assert first.json()["code"] == "unavailable"
        assert first.headers["Retry-After"]
    assert post(world, batch).status_code == 202
    assert waiting() == (2 if first.status_code == 503 else 3) * events
