"""The plain views of operations in the OpenAPI document."""

from typing import Any

from apps.core.openapi import body, document, problem_answers

__all__ = ["register"]


def register() -> None:
    """Describe health, metrics and the document itself; all are open, metrics to this machine alone."""
    state = {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}}
    ready = {
        "type": "object",
        "required": ["status", "checks"],
        "properties": {
            "status": {"enum": ["ok", "degraded", "unavailable"]},
            "checks": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    _get("/health/live", "Whether this process answers", {"200": _answer("It does.", body(state))})
    _get(
        "/health/ready",
        "Whether requests can be served",
        {"200": _answer("They can.", body(ready)), "503": _answer("Not right now.", body(ready))},
    )
    _get(
        "/metrics",
        "Metrics of all processes, for Prometheus",
        {"200": _answer("Prometheus text.", body({"type": "string"}, "text/plain")), **problem_answers(403)},
        [{}, {"metricsToken": []}],
    )
    changed = {"304": {"description": "The document that `If-None-Match` names is the present one."}}
    _get("/openapi.json", "This document", {"200": _answer("OpenAPI 3.1.", body({"type": "object"})), **changed})


def _answer(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": content}


def _get(path: str, summary: str, answers: dict[str, Any], security: list[dict[str, list[str]]] | None = None) -> None:
    document(
        path,
        "GET",
        {
            "operationId": f"{path.strip('/').replace('/', '_').replace('.', '_')}_get",
            "tags": ["Operations"],
            "summary": summary,
            "security": security or [{}],
            "responses": {**answers, **problem_answers(405, 500)},
        },
    )
