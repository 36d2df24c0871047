"""The plain views of this app in the OpenAPI document, made from the types that decode the requests."""

from typing import Any, get_type_hints

import msgspec

from apps.core.openapi import body, document, problem_answers
from apps.usage.contracts import EventIn
from apps.usage.ingest.decode import MAX_EVENTS

__all__ = ["register"]

_KEYS: list[dict[str, list[str]]] = [{"apiKey": []}]


def _event_schema() -> dict[str, Any]:
    """The schema of an event with its parts in place."""
    types = get_type_hints(EventIn, include_extras=True)
    fields = [
        (field.name, types[field.name]) if field.required else (field.name, types[field.name], field.default)
        for field in msgspec.structs.fields(EventIn)
        if field.name != "metadata"
    ]
    plain = msgspec.defstruct("Event", fields, forbid_unknown_fields=True, kw_only=True)
    _, parts = msgspec.json.schema_components([plain], ref_template="#/{name}")
    event: dict[str, Any] = _inlined(parts["Event"], parts)
    event["properties"]["event_id"] |= {"format": "uuid"}
    event["properties"]["timestamp"] |= {"format": "date-time"}
    event["properties"]["metadata"] = {
        "type": ["object", "null"],
        "additionalProperties": True,
        "description": "Kept as it came; registered keys become tags.",
    }
    return event


def _inlined(value: Any, parts: dict[str, Any]) -> Any:
    """The schema with references replaced by what they name."""
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            return _inlined(parts[reference.removeprefix("#/")], parts)
        return {name: _inlined(part, parts) for name, part in value.items() if name != "default"}
    if isinstance(value, list):
        return [_inlined(part, parts) for part in value]
    return value


_RESULT = {
    "type": "object",
    "required": ["accepted", "duplicates", "rejected"],
    "properties": {
        "accepted": {"type": "integer", "description": "Committed: they survive a crash of any process."},
        "duplicates": {"type": "integer", "description": "Repeats inside this request."},
        "rejected": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "event_id", "code", "detail", "pointer"],
                "properties": {
                    "index": {"type": "integer"},
                    "event_id": {"type": ["string", "null"]},
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                    "pointer": {"type": "string"},
                },
            },
        },
    },
}
_ERRORS = problem_answers(400, 401, 403, 405, 413, 415, 429, 500, 503)


def register() -> None:
    """Describe the ingest endpoints."""
    event = _event_schema()
    batch = {
        "type": "object",
        "required": ["events"],
        "additionalProperties": False,
        "properties": {"events": {"type": "array", "items": event, "minItems": 1, "maxItems": MAX_EVENTS}},
    }
    accepted = {"202": {"description": "Taken in; each event by itself.", "content": body(_RESULT)}}
    document(
        "/v1/events",
        "post",
        {
            "operationId": "v1_events_create",
            "tags": ["Usage"],
            "summary": "Send a batch of usage events",
            "description": "Up to 5,000 events and 10 MiB; gzip and zstd bodies are taken. An `event_id` sent again"
            " within 8 days counts once. A key with the scope `ingest` is needed.",
            "security": _KEYS,
            "requestBody": {
                "required": True,
                "content": {**body(batch), **body({"type": "string"}, "application/x-ndjson")},
            },
            "responses": {**accepted, **_ERRORS},
        },
    )
    document(
        "/v1/track",
        "post",
        {
            "operationId": "v1_track_create",
            "tags": ["Usage"],
            "summary": "Send one usage event",
            "security": _KEYS,
            "requestBody": {"required": True, "content": body(event)},
            "responses": {**accepted, **_ERRORS},
        },
    )
    _health()


def _health() -> None:
    health = {
        "type": "object",
        "required": ["status", "inbox", "drain"],
        "properties": {
            "status": {
                "type": "string",
                "enum": ["ok", "degraded"],
                "description": "`degraded`: a shard of the drain is stuck. Events are still taken in and kept.",
            },
            "drain": {
                "type": "object",
                "required": ["events_per_second", "stalled_shards"],
                "properties": {
                    "events_per_second": {"type": "number", "description": "Counted in the last ten seconds."},
                    "stalled_shards": {
                        "type": "array",
                        "items": {"type": "integer"},
                        "description": "-1 stands for slots that no drain works on.",
                    },
                },
            },
            "inbox": {
                "type": "object",
                "required": ["batches", "events", "lag_seconds"],
                "properties": {
                    "batches": {"type": "integer"},
                    "events": {"type": "integer"},
                    "lag_seconds": {"type": "number"},
                },
            },
        },
    }
    document(
        "/v1/health",
        "get",
        {
            "operationId": "v1_health_retrieve",
            "tags": ["Usage"],
            "summary": "Whether events can be taken in, and how far counting is behind",
            "security": [{}],
            "responses": {
                "200": {"description": "Events can be taken in.", "content": body(health)},
                **problem_answers(405, 500, 503),
            },
        },
    )
