"""The OpenAPI document: generated from the code, with the operations of plain views added by hand.

DRF views describe themselves through drf-spectacular. A plain Django view (the ingest paths, which are too hot for DRF)
is described by :func:`document` beside its code.
"""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from drf_spectacular.openapi import AutoSchema

__all__ = [
    "PROBLEM",
    "ApiSchema",
    "add_documented",
    "body",
    "document",
    "operations",
    "problem_answers",
    "schema",
    "schema_text",
]

PROBLEM = {"$ref": "#/components/schemas/Problem"}

_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "detail", "code", "correlation_id"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "A stable word that programs may match."},
        "correlation_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

_TITLES = {
    400: "Not valid",
    401: "Not signed in, or the credential does not work",
    403: "Not allowed",
    404: "Not there, or not yours",
    405: "This method is not offered here",
    406: "No representation fits",
    409: "Does not fit the present state",
    412: "Another version than `If-Match` names",
    413: "Too large",
    415: "This kind of body is not taken",
    422: "Cannot be carried out",
    429: "Too many requests, or no room",
    500: "A failure of ours",
    503: "Not available right now",
}

_STEP_UP = "Sensitive: wants a credential shown lately; else 401 `step_up_required` (RFC 9470), see `/auth/step-up`."

_documented: dict[tuple[str, str], dict[str, Any]] = {}


def problem_answers(*statuses: int) -> dict[str, Any]:
    """The ``responses`` of an operation for these statuses."""
    return {
        str(status): {
            "description": _TITLES[status],
            "content": {"application/problem+json": {"schema": PROBLEM}},
        }
        for status in statuses
    }


def body(schema: Mapping[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """A ``content`` object."""
    return {media_type: {"schema": dict(schema)}}


def document(path: str, method: str, operation: Mapping[str, Any]) -> None:
    """Add an operation of a plain view; ``path`` as in OpenAPI (``/v1/events``)."""
    _documented[path, method.lower()] = dict(operation)


class ApiSchema(AutoSchema):
    """What every operation has: a name after its view, and problems for what can go wrong before its code."""

    def _map_serializer(self, serializer: Any, direction: str, bypass_extensions: bool = False) -> Any:
        mapped = super()._map_serializer(serializer, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if direction == "request" and getattr(serializer, "refuses_unknown", False):
            mapped["additionalProperties"] = False
        return mapped

    def get_operation_id(self) -> str:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self.view).__name__).lower()
        return f"{words}_{self.method.lower()}"

    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> Any:
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation is None:
            return None
        view: Any = self.view
        public = method in getattr(view, "public", ())
        statuses = {400, 405, 406, 429, 500}
        if not public:
            statuses |= {401, 403, 404}
        if method in {"POST", "PUT", "PATCH"}:
            statuses |= {409, 413, 415, 422}
            if public:
                statuses |= {401, 403}
        if public and ("{token}" in path or method == "POST"):
            # A token that means nothing is not there.
            statuses |= {404}
        if method == "PATCH":
            statuses |= {412}
        if method == "DELETE":
            statuses |= {409}
        if method in getattr(view, "step_up", ()):
            operation["description"] = f"{operation.get('description', '')}\n\n{_STEP_UP}".strip()
        operation["responses"] = {**problem_answers(*sorted(statuses)), **operation["responses"]}
        if public:
            operation["security"] = [{}]
        elif not getattr(view, "scopes", {}).get(method):
            operation["security"] = [s for s in operation.get("security", []) if "apiKey" not in s]
        return operation


def add_documented(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's post-processing hook: plain views, the problem schema, a stable order."""
    result["components"].setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
    result["components"].setdefault("securitySchemes", {})["metricsToken"] = {"type": "http", "scheme": "bearer"}
    for (path, method), operation in _documented.items():
        result["paths"].setdefault(path, {})[method] = operation
    result["paths"] = dict(sorted(result["paths"].items()))
    return result


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The document; made once for each process."""
    from drf_spectacular.generators import SchemaGenerator

    made: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    plain: dict[str, Any] = json.loads(json.dumps(made, default=str))
    return plain


def schema_text() -> str:
    """The document as it is kept in the repository: stable, readable, one change a line."""
    return json.dumps(schema(), indent=1, sort_keys=False, ensure_ascii=False) + "\n"


def operations() -> list[dict[str, Any]]:
    """All operations with their path and method, in the order of the document; for the page at ``/docs``."""
    return [
        {"path": path, "method": method, **operation}
        for path, item in schema()["paths"].items()
        for method, operation in item.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]
