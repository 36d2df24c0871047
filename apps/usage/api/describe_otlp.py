"""The OTLP receiver and ``/v1/metrics`` in the OpenAPI document."""

from typing import Any

from apps.core.openapi import body, document, problem_answers

__all__ = ["register"]

_PROTOBUF = "application/x-protobuf"
_BYTES = {"type": "string", "format": "binary"}
# Signal → the message's field of groups, and what a refused record is counted in.
_SIGNALS = {
    "logs": ("resourceLogs", "rejectedLogRecords", "Log records of Claude Code: calls, errors and tool uses"),
    "metrics": ("resourceMetrics", "rejectedDataPoints", "Metrics of Claude Code: what its log records lack"),
    "traces": ("resourceSpans", "rejectedSpans", "Spans by the GenAI conventions: calls of Claude and tool uses"),
}


def _either(schema: dict[str, Any]) -> dict[str, Any]:
    return {**body(schema), **body(_BYTES, _PROTOBUF)}


def _answer(rejected: str) -> dict[str, Any]:
    partial = {
        "type": "object",
        "properties": {rejected: {"type": "string", "format": "int64"}, "errorMessage": {"type": "string"}},
    }
    return {"type": "object", "properties": {"partialSuccess": partial}}


def register() -> None:
    """Describe them."""
    status = {
        "type": "object",
        "description": "google.rpc.Status",
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    }
    errors = {
        str(code): {"description": text, "content": _either(status)}
        for code, text in {
            400: "The body is not OTLP",
            401: "No key, or one that does not work",
            403: "The key lacks the scope `ingest`",
            405: "Only POST",
            413: "Too large",
            415: "Neither protobuf nor JSON",
            429: "Too many requests, or no room: send it again",
            503: "Not available right now: send it again",
        }.items()
    }
    for signal, (groups, rejected, summary) in _SIGNALS.items():
        request = {"type": "object", "properties": {groups: {"type": "array", "items": {"type": "object"}}}}
        document(
            f"/otlp/v1/{signal}",
            "post",
            {
                "operationId": f"otlp_v1_{signal}_create",
                "tags": ["Usage"],
                "summary": summary,
                "description": "OTLP/HTTP as OpenTelemetry's protocol has it; the answer is in the encoding of the"
                " request. gzip and zstd bodies are taken. What is sent twice counts once.",
                "security": [{"apiKey": []}],
                "requestBody": {"required": True, "content": _either(request)},
                "responses": {
                    "200": {"description": "Taken in.", "content": _either(_answer(rejected))},
                    **errors,
                    **problem_answers(500),
                },
            },
        )
    document(
        "/v1/metrics",
        "get",
        {
            "operationId": "v1_metrics_retrieve",
            "tags": ["Usage"],
            "summary": "The usage tracker's own figures as Prometheus text",
            "description": "From loopback, or with `METRICS_TOKEN` as a bearer token.",
            "security": [{}],
            "responses": {
                "200": {"description": "Prometheus text.", "content": body({"type": "string"}, "text/plain")},
                **problem_answers(403, 405, 500),
            },
        },
    )
