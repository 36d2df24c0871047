"""The fast lane: requests that take events in pass what they need of the middleware, and nothing else.

They have no session, no page and no form; eleven layers that look for these cost more than a small batch itself. What
every answer must have (the context, the headers, problems for errors) is the same as everywhere. Events in JSON, the
most of them, go past Django's request and response too, which cost as much as taking a single event in.

Calls of the API that carry a key or an access token go through Django, without the layers that serve a browser: its
session, forms, messages. A cookie that comes along means nothing there, so there is nothing to forge.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, cast

from django.core.handlers.exception import convert_exception_to_response, response_for_exception
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse

from apps.core.context import RequestContext, bind_new
from apps.core.contracts import ANONYMOUS
from apps.core.middleware import (
    CSP,
    PERMISSIONS_POLICY,
    RequestContextMiddleware,
    SecurityHeadersMiddleware,
    context_of,
)
from apps.core.problems import API_PREFIXES
from apps.core.telemetry import is_configured as traced
from apps.usage.api import ingest, otlp
from apps.usage.api.ingest import Answer
from mindweave.handlers import ApiHandler

__all__ = ["Lane", "LaneRequest"]

View = Callable[[HttpRequest], HttpResponse]
Handler = Callable[[Any], Answer]
Start = Callable[..., Any]

# What Django's own middleware adds to every answer.
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"), ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)  # fmt: skip
_OWN_HEADERS = (
    *_HEADERS,
    ("Content-Security-Policy", CSP),
    ("Permissions-Policy", PERMISSIONS_POLICY),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_VIEWS: dict[str, View] = {
    "/v1/events": ingest.events,
    "/v1/track": ingest.track,
    "/otlp/v1/logs": otlp.logs,
    "/otlp/v1/metrics": otlp.metrics,
    "/otlp/v1/traces": otlp.traces,
}
_HANDLERS: dict[str, Handler] = {"/v1/events": ingest.take_batch, "/v1/track": ingest.take_one}


@lru_cache(maxsize=256)
def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


class _Headers:
    """The headers that somebody asks for, without a copy of all of them."""

    __slots__ = ("_environ",)

    def __init__(self, environ: dict[str, Any]) -> None:
        self._environ = environ

    def get(self, name: str, default: Any = None) -> Any:
        return self._environ.get(_key(name), default)


class LaneRequest:
    """What taking events in asks of a request."""

    __slots__ = ("META", "_stream", "api_key", "client_ip", "headers", "method", "path", "path_info")

    def __init__(self, environ: dict[str, Any]) -> None:
        self.META = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path = self.path_info = environ["PATH_INFO"]
        self.headers = _Headers(environ)


# Calls of the API that anybody may make, their credential in the body: no cookie means anything to them.
_OPEN = {"/auth/login", "/auth/refresh"}


def _named_by_header(environ: dict[str, Any]) -> bool:
    """Whether it is a call of the API whose caller a header names; one that names nobody is refused all the same."""
    if environ["PATH_INFO"] in _OPEN:
        return True
    named = environ.get("HTTP_X_API_KEY") or environ.get("HTTP_AUTHORIZATION", "")[:7].lower() == "bearer "
    return bool(named) and environ["PATH_INFO"].startswith(API_PREFIXES)


class Lane:
    """A WSGI application: POST requests of its paths by itself, all others by Django's handlers."""

    def __init__(self, django: WSGIHandler) -> None:
        self._django, self._api = django, ApiHandler()
        inner = cast(View, convert_exception_to_response(lambda request: _VIEWS[request.path_info](request)))
        self._chain = RequestContextMiddleware(SecurityHeadersMiddleware(inner))

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "POST" or path not in _VIEWS:
            return (self._api if _named_by_header(environ) else self._django)(environ, start_response)
        handler = _HANDLERS.get(path)
        if handler is not None and not traced():
            return self._take(environ, start_response, handler)
        return _send(self._chain(WSGIRequest(environ)), _HEADERS, start_response)

    @staticmethod
    def _take(environ: dict[str, Any], start_response: Start, handler: Handler) -> list[bytes]:
        request = LaneRequest(environ)
        context = context_of(cast(HttpRequest, request))
        with bind_new(RequestContext(actor=ANONYMOUS, **context)):
            own = (*_OWN_HEADERS, ("X-Correlation-Id", context["correlation_id"]))
            try:
                answer = ingest.guarded(handler, cast(HttpRequest, request), lambda: WSGIRequest(environ))
            except Exception as error:
                return _send(response_for_exception(WSGIRequest(environ), error), own, start_response)
            if isinstance(answer, HttpResponse):
                return _send(answer, own, start_response)
        headers = [
            ("Content-Type", "application/json"), ("Content-Length", str(len(answer.body))), *answer.headers, *own,
        ]  # fmt: skip
        start_response("202 Accepted", headers)
        return [answer.body]


def _send(response: HttpResponse, also: tuple[tuple[str, str], ...], start_response: Start) -> list[bytes]:
    """Not the response itself is passed on: its end would look through all connections; the lane does once a second."""
    headers = [*response.items(), *also]
    content = response.content
    if "Content-Length" not in response.headers:
        headers.append(("Content-Length", str(len(content))))
    start_response(f"{response.status_code} {response.reason_phrase}", headers)
    return [content]
