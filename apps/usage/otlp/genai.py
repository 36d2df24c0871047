"""Spans of agents that follow OpenTelemetry's GenAI conventions.

Here ``gen_ai.usage.input_tokens`` includes the cached tokens, unlike Claude's own usage: they are taken off again.
"""

from uuid import UUID

import msgspec
import orjson

from apps.usage.contracts import TelemetryEvent
from apps.usage.otlp.values import event_id, moment, text, whole
from apps.usage.otlp.wire import Record

__all__ = ["span_event"]

_CALLS = frozenset({"chat", "text_completion", "generate_content"})


def span_event(record: Record, *, org_id: UUID) -> TelemetryEvent | None:
    """The event that a span stands for: a call of an Anthropic model or a tool use; None for any other span."""
    attributes = record.attributes
    operation = text(attributes, "gen_ai.operation.name")
    provider = text(attributes, "gen_ai.provider.name") or text(attributes, "gen_ai.system") or ""
    if operation in _CALLS and _is_claude(provider, record):
        return _call(record, org_id)
    if operation == "execute_tool":
        return _tool(record, org_id)
    return None


def _is_claude(provider: str, record: Record) -> bool:
    model = text(record.attributes, "gen_ai.response.model") or text(record.attributes, "gen_ai.request.model") or ""
    return "anthropic" in provider.lower() or "claude" in model.lower()


def _call(record: Record, org_id: UUID) -> TelemetryEvent:
    attributes = record.attributes
    read = whole(attributes, "gen_ai.usage.cache_read.input_tokens")
    written = whole(attributes, "gen_ai.usage.cache_creation.input_tokens")
    return TelemetryEvent(
        event_id=event_id(org_id, "span", text(attributes, "gen_ai.response.id") or record.ident),
        timestamp=moment(record.time_ns, attributes),
        event_type="api_call",
        model=text(attributes, "gen_ai.response.model") or text(attributes, "gen_ai.request.model"),
        input_tokens=max(0, whole(attributes, "gen_ai.usage.input_tokens") - read - written),
        output_tokens=whole(attributes, "gen_ai.usage.output_tokens"),
        cache_read_input_tokens=read,
        cache_creation_input_tokens=written,
        latency_ms=record.duration_ns // 1_000_000,
        session_id=text(attributes, "gen_ai.conversation.id", 256),
        status="error" if record.failed else "ok",
        error_type=text(attributes, "error.type") if record.failed else None,
        source=_source(record),
        metadata=_metadata(record),
    )


def _tool(record: Record, org_id: UUID) -> TelemetryEvent:
    attributes = record.attributes
    return TelemetryEvent(
        event_id=event_id(org_id, "span-tool", text(attributes, "gen_ai.tool.call.id") or record.ident),
        timestamp=moment(record.time_ns, attributes),
        event_type="mcp_tool",
        mcp_server=text(attributes, "mcp.server.name"),
        mcp_tool=text(attributes, "gen_ai.tool.name") or record.name[:200],
        latency_ms=record.duration_ns // 1_000_000,
        session_id=text(attributes, "gen_ai.conversation.id", 256),
        status="error" if record.failed else "ok",
        error_type=text(attributes, "error.type") if record.failed else None,
        source=_source(record),
        metadata=_metadata(record),
    )


def _source(record: Record) -> str:
    return text(record.resource, "service.name", 64) or "otel"


def _metadata(record: Record) -> msgspec.Raw:
    noise = ("host.", "os.", "service.", "telemetry.", "process.")
    kept = {
        name[:100]: str(value)[:200]
        for name, value in record.resource.items()
        if not name.startswith(noise) and isinstance(value, str | int | float | bool)
    }
    return msgspec.Raw(orjson.dumps(kept))
