"""What every request passes: its context, its errors, its security headers."""

import ipaddress
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from opentelemetry.trace import SpanKind

from apps.core import errors
from apps.core.context import bind
from apps.core.contracts import ANONYMOUS
from apps.core.ids import uuid7_text
from apps.core.problems import as_mindweave_error, problem_response
from apps.core.telemetry import span
from apps.core.tenancy import system_scope

__all__ = [
    "AdminScopeMiddleware",
    "ProblemMiddleware",
    "RequestContextMiddleware",
    "SecurityHeadersMiddleware",
    "bad_request",
    "context_of",
    "forbidden",
    "not_found",
    "server_error",
]

GetResponse = Callable[[HttpRequest], HttpResponse]

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

# No inline script or style and no eval on the pages of tenants; the admin's theme needs both (Alpine).
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
ADMIN_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
PERMISSIONS_POLICY = "camera=(), microphone=(), geolocation=(), payment=()"


class RequestContextMiddleware:
    """Binds the correlation id (taken or made, returned), the trace context and the caller's address."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        context = context_of(request)
        with (
            bind(**context, actor=ANONYMOUS),
            span(f"{request.method} {request.path}", kind=SpanKind.SERVER) as request_span,
        ):
            response = self.get_response(request)
            request_span.set_attribute("http.response.status_code", response.status_code)
        response.headers["X-Correlation-Id"] = context["correlation_id"]
        return response


def context_of(request: HttpRequest) -> dict[str, Any]:
    """What a request's headers say of its context (correlation id, trace); its ``client_ip`` is found and set."""
    traceparent = request.headers.get("traceparent", "")
    request.client_ip = _client_ip(request)  # type: ignore[attr-defined]
    return {
        "correlation_id": _correlation_id(request.headers.get("X-Correlation-Id")),
        "traceparent": traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None,
        "tracestate": request.headers.get("tracestate"),
    }


def _correlation_id(given: str | None) -> str:
    """A UUID as the envelope of the bus wants it: the caller's where it is one, else a new one."""
    if given:
        try:
            return str(UUID(given))
        except ValueError:
            pass
    return uuid7_text()


def _client_ip(request: HttpRequest) -> str | None:
    """The peer's address, or what the trusted front says it was: the last hop of X-Forwarded-For.

    The front is trusted by ``TRUSTED_PROXY_HOPS``: how many proxies of ours append to the header.
    """
    peer = request.META.get("REMOTE_ADDR") or ""
    hops: int = settings.TRUSTED_PROXY_HOPS
    if hops:
        chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        if len(chain) >= hops:
            peer = chain[-hops]
    return _address(peer)


@lru_cache(maxsize=4096)
def _address(text: str) -> str | None:
    """The one spelling of an address, or None for what is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


class SecurityHeadersMiddleware:
    """A strict Content-Security-Policy and its companions on every answer."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        csp = ADMIN_CSP if request.path.startswith("/admin/") else CSP
        response.headers.setdefault("Content-Security-Policy", csp)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        # No page of others may draw our answers into its own process.
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


class ProblemMiddleware:
    """Turns the errors of plain views into problems or pages; DRF views do so themselves."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        # Django's decorators refuse a method with an empty page, which tells a person nothing.
        if isinstance(response, HttpResponseNotAllowed) and not response.content:
            error = errors.MethodNotAllowed(headers={"Allow": response.headers["Allow"]})
            return problem_response(error, request)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        error = as_mindweave_error(exception)
        return None if error is None else problem_response(error, request)


class AdminScopeMiddleware:
    """Staff work across organisations: Django admin runs in a system scope, its rendering included."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith("/admin/"):
            return self.get_response(request)
        with system_scope("staff admin"):
            return self.get_response(request)


# ---------------------------------------------------------------- Django's error handlers (mindweave/urls.py)
def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem_response(errors.BadRequest(), request)


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem_response(errors.PermissionDenied(), request)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return problem_response(errors.NotFound(), request)


def server_error(request: HttpRequest) -> HttpResponse:
    """The page of a failure; a database that is away is 503, and worth trying again in a moment."""
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        request.org = None  # type: ignore[attr-defined]
        detail = "The database does not answer. Events that are sent meanwhile are tried again by their senders."
        return problem_response(errors.Unavailable(detail, retry_after=10), request)
    detail = "The failure has been recorded; name the correlation id when you report it."
    return problem_response(errors.MindWeaveError(detail), request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    detail = "The form's protection token is missing or stale; load the page again and repeat."
    return problem_response(errors.PermissionDenied(detail, code="csrf_failed"), request)
