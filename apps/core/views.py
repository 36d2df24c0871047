"""Operations: health, metrics, the OpenAPI document."""

import hashlib
import ipaddress
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.text import slugify
from django.views.decorators.http import require_safe

from apps.core import health, metrics, openapi
from apps.core.crypto import constant_time_equal
from apps.core.errors import NotFound, PermissionDenied

__all__ = ["check_metrics_access", "docs", "live", "metrics_all", "openapi_json", "ready"]


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Whether this process answers."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Whether requests can be served: 503 without the database or with migrations missing.

    Redis away is said and does no harm to readiness: limits fail open and ingest goes on. What apps find wrong is said
    as ``degraded``, with 200: restarting or avoiding this process would not mend it.
    """
    checks: dict[str, str] = {"database": _database(), "redis": _redis()}
    if checks["database"] != "ok":
        return JsonResponse({"status": "unavailable", "checks": checks}, status=503)
    found = health.run_checks()
    fine = all(said == health.OK for said in found.values())
    return JsonResponse({"status": "ok" if fine else "degraded", "checks": {**checks, **found}})


_migrated = False


def _database() -> str:
    global _migrated
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not _migrated:
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                return "migrations are missing"
            _migrated = True
    except DatabaseError:
        return "away"
    return "ok"


@lru_cache(maxsize=1)
def _redis_client() -> "redis.Redis":
    return redis.Redis.from_url(settings.RATE_LIMIT_REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)


def _redis() -> str:
    try:
        _redis_client().ping()
    except redis.RedisError:
        return "away"
    return "ok"


def check_metrics_access(request: HttpRequest) -> None:
    """Metrics are for loopback, and for who brings ``METRICS_TOKEN`` as a bearer token."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    if settings.METRICS_TOKEN and constant_time_equal(token, settings.METRICS_TOKEN):
        return
    ip = getattr(request, "client_ip", None)
    if ip is None or not ipaddress.ip_address(ip).is_loopback:
        raise PermissionDenied("Metrics are read from this machine, or with METRICS_TOKEN")


@require_safe
def metrics_all(request: HttpRequest) -> HttpResponse:
    """Prometheus text of all processes."""
    check_metrics_access(request)
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)


@lru_cache(maxsize=1)
def _document() -> tuple[bytes, str]:
    content = openapi.schema_text().encode()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@require_safe
def openapi_json(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document."""
    content, etag = _document()
    if request.headers.get("If-None-Match") == etag:
        return HttpResponse(status=304, headers={"ETag": etag})
    return HttpResponse(
        content,
        content_type="application/json",
        headers={"ETag": etag, "Cache-Control": "public, max-age=60", "Access-Control-Allow-Origin": "*"},
    )


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """The API reference, rendered here: no script of somebody else, readable without any."""
    return render(request, "docs/index.html", {"groups": _groups(), "info": openapi.schema()["info"]})


@lru_cache(maxsize=1)
def _groups() -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for operation in openapi.operations():
        groups.setdefault((operation.get("tags") or ["Other"])[0], []).append(_readable(operation))
    return [{"name": name, "operations": found} for name, found in groups.items()]


def _readable(operation: dict[str, Any]) -> dict[str, Any]:
    request_body = _schema_of(operation.get("requestBody", {}))
    return {
        "id": f"{operation['method']}-{slugify(operation['path'].replace('/', ' '))}",
        "path": operation["path"],
        "method": operation["method"].upper(),
        "summary": operation.get("summary", ""),
        "description": operation.get("description", ""),
        "parameters": operation.get("parameters", []),
        "fields": _fields(request_body) if request_body else [],
        "answers": [
            {
                "status": status,
                "description": answer.get("description", ""),
                "fields": _fields(_schema_of(answer)) if status.startswith("2") else [],
            }
            for status, answer in sorted(operation.get("responses", {}).items())
        ],
        "auth": [next(iter(choice), "none") for choice in operation.get("security", [])],
    }


def _schema_of(holder: dict[str, Any]) -> dict[str, Any]:
    """The schema of the first kind of content that a body or an answer may have; empty without one."""
    contents: list[dict[str, Any]] = list(holder.get("content", {}).values())
    found: dict[str, Any] = contents[0].get("schema", {}) if contents else {}
    return found


def _resolve(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if not reference:
        return schema
    found: dict[str, Any] = openapi.schema()["components"]["schemas"].get(reference.rsplit("/", 1)[-1], {})
    return found


def _fields(schema: dict[str, Any], prefix: str = "", depth: int = 0) -> list[dict[str, Any]]:
    """The properties of a schema as rows, nested ones by their path."""
    schema = _resolve(schema)
    if schema.get("type") == "array":
        return _fields(schema.get("items", {}), prefix, depth)
    rows: list[dict[str, Any]] = []
    required = set(schema.get("required", ()))
    for name, inner in schema.get("properties", {}).items():
        resolved = _resolve(inner)
        kind = resolved.get("format") or resolved.get("type") or ("one of " if "oneOf" in resolved else "object")
        rows.append(
            {
                "name": f"{prefix}{name}",
                "type": "/".join(kind) if isinstance(kind, list) else str(kind),
                "required": name in required,
                "description": inner.get("description") or resolved.get("description", ""),
                "choices": resolved.get("enum", []),
            }
        )
        nested = resolved.get("items", {}) if resolved.get("type") == "array" else resolved
        if depth < 2 and (_resolve(nested).get("properties")):
            mark = "[]." if resolved.get("type") == "array" else "."
            rows += _fields(nested, f"{prefix}{name}{mark}", depth + 1)
    return rows


def dev_only() -> None:
    """Raise :class:`NotFound` outside development."""
    if not settings.DEVELOPMENT:
        raise NotFound()
