"""Claude Code's events and metrics as usage events (docs/decisions/0006-otlp-counting.md).

``api_request`` and ``api_error`` are calls, ``tool_result`` is a tool use. The metrics repeat the same calls, so only
what the events lack is taken from them: sessions, lines, commits, pull requests, decisions on edits, active time.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

import msgspec
import orjson

from apps.usage.contracts import CacheCreation, TelemetryEvent
from apps.usage.otlp.inference import Told, infer
from apps.usage.otlp.values import event_id, moment, number, text, truth, whole
from apps.usage.otlp.wire import Attributes, Record

__all__ = ["activity_events", "log_event"]

SOURCE = "claude_code"
# What every record carries and events keep in columns, or nobody groups by.
_OWN = frozenset(
    {
        "session.id", "user.id", "user.email", "user.account_uuid", "user.account_id", "organization.id", "event.name",
        "event.timestamp", "event.sequence", "terminal.type", "app.version", "prompt.id", "anthropic.provider",
        "anthropic.custom_base_url", "model",
    }
)  # fmt: skip
_RESOURCE_NOISE = ("host.", "os.", "service.", "telemetry.", "process.")
_ACTIVITY = {
    "claude_code.session.count": "sessions",
    "claude_code.lines_of_code.count": "lines",
    "claude_code.commit.count": "commits",
    "claude_code.pull_request.count": "pull_requests",
    "claude_code.code_edit_tool.decision": "edit_decisions",
    "claude_code.active_time.total": "active_seconds",
}


def log_event(record: Record, *, org_id: UUID) -> TelemetryEvent | None:
    """The event that a log record stands for, or None for one that counts nothing."""
    match record.name:
        case "claude_code.api_request":
            return _call(record, org_id)
        case "claude_code.api_error":
            return _error(record, org_id)
        case "claude_code.tool_result":
            return _tool(record, org_id)
    return None


def _identity(record: Record) -> dict[str, Any]:
    attributes = record.attributes
    email = text(attributes, "user.email", 254)
    return {
        "timestamp": moment(record.time_ns, attributes),
        "session_id": text(attributes, "session.id", 256),
        "source": SOURCE,
        "user_email": email,
        "user_name": None if email else text(attributes, "user.account_uuid") or text(attributes, "user.id"),
    }


def _key(record: Record, kind: str, ident: str | None) -> tuple[object, ...]:
    """What makes an event the same when it is sent again, or seen by the gateway too."""
    session = text(record.attributes, "session.id", 256)
    if ident:
        return kind, session, ident
    return kind, session, record.time_ns, record.attributes.get("event.sequence")


def _metadata(record: Record, **more: Any) -> msgspec.Raw:
    """Resource attributes that somebody set (department, cost centre…), for tags; then what describes the event."""
    set_by_people = {
        name: value
        for name, value in record.resource.items()
        if not name.startswith(_RESOURCE_NOISE) and name not in _OWN and isinstance(value, str | int | float | bool)
    }
    version = text(record.attributes, "app.version") or text(record.resource, "service.version")
    described = {name: value for name, value in {"app_version": version, **more}.items() if value is not None}
    return msgspec.Raw(orjson.dumps({**_bounded(set_by_people), **described}))


def _bounded(values: Attributes) -> Attributes:
    return {name[:100]: str(value)[:200] for name, value in list(values.items())[:40]}


def _call(record: Record, org_id: UUID) -> TelemetryEvent:
    attributes = record.attributes
    identity = _identity(record)
    request_id = text(attributes, "request_id", 256)
    short, long = _count(attributes, "cache_creation_5m_tokens"), _count(attributes, "cache_creation_1h_tokens")
    written = whole(attributes, "cache_creation_tokens")
    if written >= 0:
        written = max(written, max(short or 0, 0) + max(long or 0, 0))
    told = Told(
        model=text(attributes, "model") or "",
        at=identity["timestamp"],
        input=whole(attributes, "input_tokens"),
        output=whole(attributes, "output_tokens"),
        cache_read=whole(attributes, "cache_read_tokens"),
        cache_write=written,
        cache_write_1h=long if long is None else max(long, 0),
        speed=text(attributes, "speed", 64),
        cost_usd=number(attributes, "cost_usd"),
    )
    found = infer(told, org_id)
    return TelemetryEvent(
        event_id=event_id(org_id, *_key(record, "call", request_id)),
        event_type="api_call",
        model=told.model or None,
        input_tokens=told.input,
        output_tokens=told.output,
        cache_read_input_tokens=told.cache_read,
        cache_creation_input_tokens=written,
        cache_creation=CacheCreation(found.cache_write_5m, found.cache_write_1h) if written else None,
        latency_ms=whole(attributes, "duration_ms"),
        cost_usd=told.cost_usd,
        request_id=request_id,
        speed=told.speed,
        inference_geo=found.geo or None,
        trust_cost=found.trust_reported,
        metadata=_metadata(
            record,
            query_source=text(attributes, "query_source"),
            effort=text(attributes, "effort"),
            ttft_ms=_count(attributes, "ttft_ms"),
            prompt_id=text(attributes, "prompt.id"),
        ),
        **identity,
    )


def _count(attributes: Attributes, name: str) -> int | None:
    return None if attributes.get(name) is None else whole(attributes, name)


def _error(record: Record, org_id: UUID) -> TelemetryEvent:
    attributes = record.attributes
    request_id = text(attributes, "request_id", 256)
    attempt = text(attributes, "attempt")
    return TelemetryEvent(
        event_id=event_id(org_id, *_key(record, "call", request_id)),
        event_type="api_call",
        model=text(attributes, "model"),
        latency_ms=whole(attributes, "duration_ms"),
        request_id=request_id,
        status="error",
        error_type=text(attributes, "status_code") or text(attributes, "error"),
        speed=text(attributes, "speed", 64),
        metadata=_metadata(record, error=text(attributes, "error"), attempt=attempt),
        **_identity(record),
    )


def _tool(record: Record, org_id: UUID) -> TelemetryEvent:
    attributes = record.attributes
    server, tool = _tool_name(attributes)
    use_id = text(attributes, "tool_use_id", 256)
    succeeded = truth(attributes, "success")
    return TelemetryEvent(
        event_id=event_id(org_id, *_key(record, "tool", use_id)),
        event_type="mcp_tool",
        mcp_server=server,
        mcp_tool=tool,
        latency_ms=whole(attributes, "duration_ms"),
        status="ok" if succeeded else "error",
        error_type=None if succeeded else text(attributes, "error_type") or text(attributes, "error") or "tool_error",
        metadata=_metadata(record, tool_use_id=use_id, scope=text(attributes, "mcp_server_scope")),
        **_identity(record),
    )


def _tool_name(attributes: Attributes) -> tuple[str | None, str | None]:
    """Server and tool of an MCP tool; a tool of Claude Code itself has no server."""
    name = text(attributes, "tool_name") or "unknown"
    if name == "mcp_tool" or name.startswith("mcp__"):
        try:
            parameters = orjson.loads(str(attributes.get("tool_parameters") or "{}"))
        except orjson.JSONDecodeError:
            parameters = {}
        if isinstance(parameters, dict) and parameters.get("mcp_server_name"):
            return text(parameters, "mcp_server_name"), text(parameters, "mcp_tool_name") or name
        if name.startswith("mcp__"):
            server, _, tool = name.removeprefix("mcp__").partition("__")
            return server or "mcp", tool or name
        return "mcp", name  # its names are sent only with OTEL_LOG_TOOL_DETAILS=1
    return None, name


def activity_events(records: Iterable[Record], *, org_id: UUID) -> Iterator[TelemetryEvent]:
    """One ``session`` event for each session and moment of an export, with what only metrics tell in its metadata."""
    found: dict[tuple[str, int], tuple[Record, dict[str, float]]] = {}
    for record in records:
        name = _ACTIVITY.get(record.name)
        session = text(record.attributes, "session.id", 256)
        if name is None or session is None:
            continue
        kind = text(record.attributes, "type") or text(record.attributes, "decision")
        _, sums = found.setdefault((session, record.time_ns), (record, {}))
        key = f"{name}_{kind}" if kind else name
        sums[key] = sums.get(key, 0.0) + record.value
    for (session, time_ns), (record, sums) in found.items():
        yield TelemetryEvent(
            event_id=event_id(org_id, "activity", session, time_ns, sorted(sums.items())),
            event_type="session",
            metadata=_metadata(record, **{name: round(value, 6) for name, value in sums.items()}),
            **_identity(record),
        )
