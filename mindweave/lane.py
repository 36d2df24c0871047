"""The fast lane: requests that take events in pass what they need of the middleware, and nothing else.

They have no session, no page and no form; eleven layers that look for these cost more than a small batch itself. What
every answer must have (the context, the headers, problems for errors) is the same as everywhere.
"""

from collections.abc import Callable, Iterable
from typing import Any, cast

from django.core.handlers.exception import convert_exception_to_response
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse

from apps.core.middleware import RequestContextMiddleware, SecurityHeadersMiddleware
from apps.usage.api import ingest, otlp

__all__ = ["Lane"]

View = Callable[[HttpRequest], HttpResponse]

# What Django's own middleware adds to every answer.
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"), ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)  # fmt: skip
_VIEWS: dict[str, View] = {
    "/v1/events": ingest.events,
    "/v1/track": ingest.track,
    "/otlp/v1/logs": otlp.logs,
    "/otlp/v1/metrics": otlp.metrics,
    "/otlp/v1/traces": otlp.traces,
}


class Lane:
    """A WSGI application: POST requests of its paths by itself, all others by Django's handler."""

    def __init__(self, django: WSGIHandler) -> None:
        self._django = django
        inner = cast(View, convert_exception_to_response(lambda request: _VIEWS[request.path_info](request)))
        self._chain = RequestContextMiddleware(SecurityHeadersMiddleware(inner))

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or environ["PATH_INFO"] not in _VIEWS:
            return self._django(environ, start_response)
        response = self._chain(WSGIRequest(environ))
        headers = [*response.items(), *_HEADERS]
        content = response.content
        if "Content-Length" not in response.headers:
            headers.append(("Content-Length", str(len(content))))
        start_response(f"{response.status_code} {response.reason_phrase}", headers)
        # Not the response itself: its end would look through all connections, which the lane does once a second.
        return [content]
