"""Every captured request of a real Claude Code, sent as it was with its times moved to now, counts what it holds."""

import gzip
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from apps.usage.selectors import UsageAnswer, usage_aggregate
from tests.usage.engine.conftest import World, rows, value

FIXTURES = Path(__file__).parents[2] / "fixtures" / "otlp"
LOGS = sorted(FIXTURES.glob("*v1_logs.json"))
METRICS = sorted(FIXTURES.glob("*v1_metrics.json"))

pytestmark = pytest.mark.usefixtures("committed")


def captured(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def records(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The log records, their attributes as a dictionary."""
    return [
        {pair["key"]: next(iter(pair["value"].values())) for pair in record["attributes"]}
        for group in document["body"]["resourceLogs"]
        for scope in group["scopeLogs"]
        for record in scope["logRecords"]
    ]


def _shifted(node: Any, shift: int) -> Any:
    if isinstance(node, dict):
        return {
            name: str(int(inner) + shift)
            if name.endswith("TimeUnixNano") or name == "timeUnixNano"
            else _shifted(inner, shift)
            for name, inner in node.items()
        }
    return [_shifted(item, shift) for item in node] if isinstance(node, list) else node


def _shift(document: dict[str, Any]) -> int:
    """Nanoseconds from the capture to a minute ago."""
    return time.time_ns() - 60_000_000_000 - _first(document["body"])


def _first(node: Any) -> int:
    if isinstance(node, dict):
        if node.get("timeUnixNano"):
            return int(node["timeUnixNano"])
        return max((_first(inner) for inner in node.values()), default=0)
    return max((_first(item) for item in node), default=0) if isinstance(node, list) else 0


@lru_cache
def body_of(path: Path) -> tuple[bytes, str]:
    """The request's body with its times moved, in the encoding it was sent in; and its content type."""
    document = captured(path)
    shift, kind = _shift(document), document["headers"]["Content-Type"]
    raw = path.with_name(path.name.replace("-otlp-v1", "-v1")).with_suffix(".pb")
    if kind != "application/x-protobuf":
        return json.dumps(_shifted(document["body"], shift)).encode(), kind
    is_logs = "v1_logs" in path.name
    message: Any = ExportLogsServiceRequest() if is_logs else ExportMetricsServiceRequest()
    message.ParseFromString(raw.read_bytes())
    for group in message.resource_logs if is_logs else message.resource_metrics:
        for scope in group.scope_logs if is_logs else group.scope_metrics:
            points = scope.log_records if is_logs else [p for m in scope.metrics for p in m.sum.data_points]
            for point in points:
                point.time_unix_nano += shift
    return message.SerializeToString(), kind


def send(world: World, path: Path) -> Any:
    body, kind = body_of(path)
    headers = {"HTTP_AUTHORIZATION": f"Bearer {world.token}"}
    if captured(path)["headers"].get("Content-Encoding") == "gzip":
        body, headers["HTTP_CONTENT_ENCODING"] = gzip.compress(body), "gzip"
    where = "/otlp/v1/logs" if "v1_logs" in path.name else "/otlp/v1/metrics"
    return Client().post(where, data=body, content_type=kind, **headers)  # type: ignore[arg-type]


def counted(world: World, **options: Any) -> UsageAnswer:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    return usage_aggregate(
        org_id=world.org_id, start=now - timedelta(minutes=30), end=now + timedelta(minutes=5), timezone="UTC",
        org_timezone="UTC", **options,
    )  # fmt: skip


def expected(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What the records hold, read without the code under test."""
    calls = [r for r in found if r["event.name"] == "api_request"]
    errors = [r for r in found if r["event.name"] == "api_error"]
    tools = [r for r in found if r["event.name"] == "tool_result"]
    return {
        "calls": len(calls) + len(errors),
        "call_errors": len(errors),
        "tool_calls": len(tools),
        "input_tokens": sum(int(r["input_tokens"]) for r in calls),
        "output_tokens": sum(int(r["output_tokens"]) for r in calls),
        "cache_read_tokens": sum(int(r["cache_read_tokens"]) for r in calls),
        "cache_creation_tokens": sum(int(r["cache_creation_tokens"]) for r in calls),
        "cost_nano": sum(int(r["cost_usd_micros"]) for r in calls) * 1000,
    }


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.name.removesuffix(".json"))
def test_a_captured_request_counts_exactly_what_it_holds_however_often_it_is_sent(
    path: Path, world: World, drain: Callable[[], None]
) -> None:
    holds = records(captured(path))
    for _ in range(2):
        response = send(world, path)
        assert response.status_code == 200, response.content
        assert b"rejected" not in response.content.lower()
        drain()
    totals = counted(world).totals
    wanted = expected(holds)
    assert {name: getattr(totals, name) for name in wanted} == wanted
    # The CLI's own figure, to the last digit, beside it.
    assert Decimal(totals.reported_cost_usd) * 1_000_000 == wanted["cost_nano"] // 1000
    assert totals.unpriced == 0
    sessions = {r["session.id"] for r in holds if r["event.name"] in {"api_request", "api_error", "tool_result"}}
    assert _sessions() == sessions


def _sessions() -> set[str]:
    found = rows("SELECT session_id FROM usage_session UNION SELECT session_id FROM usage_session_delta")
    return {row[0] for row in found}


def test_all_captured_requests_together_are_the_sum_of_each(world: World, drain: Callable[[], None]) -> None:
    for path in [*LOGS, *METRICS, *LOGS]:
        assert send(world, path).status_code == 200
    drain()
    wanted = [expected(records(captured(path))) for path in LOGS]
    totals = counted(world).totals
    for name in wanted[0]:
        assert getattr(totals, name) == sum(part[name] for part in wanted), name


def test_tools_are_named_and_those_of_claude_code_itself_have_no_server(
    world: World, drain: Callable[[], None]
) -> None:
    for path in LOGS:
        send(world, path)
    drain()
    rows_ = counted(world, group_by=["mcp_server", "mcp_tool"], filters={"event_type": ["mcp_tool"]}).data
    assert {(row.group["mcp_server"], row.group["mcp_tool"]) for row in rows_} == {
        (None, "Bash"),
        ("echosrv", "echo_text"),
    }


@pytest.mark.parametrize("path", METRICS, ids=lambda path: path.name.removesuffix(".json"))
def test_metrics_repeat_calls_and_count_none_of_them(path: Path, world: World, drain: Callable[[], None]) -> None:
    for _ in range(2):
        assert send(world, path).status_code == 200
    drain()
    totals = counted(world).totals
    assert (totals.calls, totals.cost_nano, totals.input_tokens) == (0, 0, 0)
    assert value("SELECT count(*) FROM usage_event") == 1


def test_a_hash_stands_for_who_has_no_address(world: World, drain: Callable[[], None]) -> None:
    send(world, LOGS[0])
    drain()
    assert value("SELECT count(*) FROM usage_person WHERE name <> ''") == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [7]}]}]}', "application/json", 400),
        (b"\xff\xff\xff", "application/x-protobuf", 400),
        (b"hello", "text/plain", 415),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_in_the_encoding_of_the_request(
    body: bytes, kind: str, status: int, world: World
) -> None:
    response = Client().post("/otlp/v1/logs", data=body, content_type=kind, HTTP_AUTHORIZATION=f"Bearer {world.token}")
    assert response.status_code == status
    assert response["Content-Type"] == (kind if kind != "text/plain" else "application/json")
    if kind == "application/json":
        assert response.json()["message"]


def test_a_key_that_does_not_work_is_401(world: World) -> None:
    body, kind = body_of(LOGS[0])
    response = Client().post("/otlp/v1/logs", data=body, content_type=kind, HTTP_AUTHORIZATION="Bearer mw_nothing")
    assert response.status_code == 401
    assert value("SELECT count(*) FROM usage_inbox") == 0


def test_an_empty_export_is_taken(world: World) -> None:
    for where in ("logs", "metrics", "traces"):
        response = Client().post(
            f"/otlp/v1/{where}", data=b"{}", content_type="application/json",
            HTTP_AUTHORIZATION=f"Bearer {world.token}",
        )  # fmt: skip
        assert (response.status_code, response.json()) == (200, {})


def test_records_out_of_time_are_told_as_partial_success(world: World) -> None:
    document = captured(LOGS[0])
    old = json.dumps(_shifted(document["body"], _shift(document) - 20 * 86_400 * 10**9)).encode()
    response = Client().post(
        "/otlp/v1/logs", data=old, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {world.token}"
    )
    assert response.status_code == 200
    assert int(response.json()["partialSuccess"]["rejectedLogRecords"]) == 1


def test_spans_by_the_genai_conventions_count_without_the_cached_tokens_twice(
    world: World, drain: Callable[[], None]
) -> None:
    now = time.time_ns()

    def attribute(name: str, inner: Any) -> dict[str, Any]:
        return {"key": name, "value": {"intValue": str(inner)} if isinstance(inner, int) else {"stringValue": inner}}

    chat = [
        attribute("gen_ai.operation.name", "chat"), attribute("gen_ai.provider.name", "anthropic"),
        attribute("gen_ai.response.model", "claude-opus-4-8"), attribute("gen_ai.response.id", "msg_1"),
        attribute("gen_ai.usage.input_tokens", 6300), attribute("gen_ai.usage.output_tokens", 42),
        attribute("gen_ai.usage.cache_read.input_tokens", 5000),
        attribute("gen_ai.usage.cache_creation.input_tokens", 100),
    ]  # fmt: skip
    tool = [attribute("gen_ai.operation.name", "execute_tool"), attribute("gen_ai.tool.name", "search")]
    spans = [
        {"traceId": "a" * 32, "spanId": f"{i:016x}", "name": "x", "startTimeUnixNano": str(now - 10**9),
         "endTimeUnixNano": str(now), "attributes": attributes}
        for i, attributes in enumerate((chat, tool, []))
    ]  # fmt: skip
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    for _ in range(2):
        response = Client().post(
            "/otlp/v1/traces", data=body, content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {world.token}"
        )
        assert response.status_code == 200
    drain()
    totals = counted(world).totals
    assert (totals.calls, totals.tool_calls, totals.input_tokens, totals.cache_read_tokens) == (1, 1, 1200, 5000)
    assert totals.latency_ms_p50 == pytest.approx(1000, rel=0.02)
