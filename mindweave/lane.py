"""The fast lane: requests that take events in pass what they need of the middleware, and nothing else.

They have no session, no page and no form; eleven layers that look for these cost more than a small batch itself. What
every answer must have (the context, the headers, problems for errors) is the same as everywhere. Events in JSON, the
most of them, go past Django's request and response too, which cost as much as taking a single event in.

Signing in over the API and refreshing are done here too, where Django and DRF would take half of their time: where a
program asks and the request has nothing unusual (:mod:`apps.identity.lane`).

Calls of the API that carry a key or an access token go through Django, without the layers that serve a browser: its
session, forms, messages. A cookie that comes along means nothing there, so there is nothing to forge.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from typing import Any, cast

import orjson
from django.conf import settings
from django.core.handlers.exception import convert_exception_to_response, response_for_exception
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host

from apps.core.authentication import client_ip
from apps.core.context import RequestContext, bind_new
from apps.core.contracts import ANONYMOUS
from apps.core.database import looked_after
from apps.core.errors import MindWeaveError
from apps.core.middleware import (
    CSP,
    PERMISSIONS_POLICY,
    RequestContextMiddleware,
    SecurityHeadersMiddleware,
    context_of,
)
from apps.core.problems import API_PREFIXES, problem_response
from apps.core.telemetry import is_configured as traced
from apps.identity import lane as signing
from apps.usage.api import ingest, otlp
from apps.usage.api.ingest import Answer
from mindweave.handlers import ApiHandler

__all__ = ["OWN_HEADERS", "Lane", "LaneRequest", "refusal"]

View = Callable[[HttpRequest], HttpResponse]
Handler = Callable[[Any], Answer]
Start = Callable[..., Any]

# What Django's own middleware adds to every answer.
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "same-origin"), ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)  # fmt: skip
OWN_HEADERS = (
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


def _named_by_header(environ: dict[str, Any]) -> bool:
    """Whether it is a call of the API whose caller a header names; one that names nobody is refused all the same.

    Signing in names nobody: the credential is in the body.
    """
    if environ["PATH_INFO"] in signing.PATHS:
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
            if path in signing.PATHS and not traced() and (work := _work_of(environ)) is not None:
                return _sign_in(environ, start_response, work)
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
            own = (*OWN_HEADERS, ("X-Correlation-Id", context["correlation_id"]))
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


def refusal(
    error: BaseException, environ: dict[str, Any], correlation_id: str
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of what an error of taking events in is answered with, as the lane does."""

    def fail(request: HttpRequest) -> Answer:
        raise error

    own = (*OWN_HEADERS, ("X-Correlation-Id", correlation_id))
    said: list[Any] = []
    request = cast(HttpRequest, LaneRequest(environ))
    try:
        answer = ingest.guarded(fail, request, lambda: WSGIRequest(environ))
    except Exception as raised:
        answer = response_for_exception(WSGIRequest(environ), raised)
    (content,) = _send(cast(HttpResponse, answer), own, lambda status, headers: said.extend((status, headers)))
    return int(said[0][:3]), said[1], content


# ---------------------------------------------------------------- signing in
@lru_cache(maxsize=64)
def _is_our_host(host: str, allowed: tuple[str, ...]) -> bool:
    name, _ = split_domain_port(host)
    return bool(name) and validate_host(name, allowed)


def _work_of(environ: dict[str, Any]) -> signing.Work | None:
    """What a request to sign in asks for; None where it has anything unusual, and its body is as it was."""
    get, length = environ.get, environ.get("CONTENT_LENGTH") or ""
    usual = (
        environ["REQUEST_METHOD"] == "POST"
        and get("CONTENT_TYPE") == "application/json"
        and length.isdecimal()
        and int(length) <= signing.LARGEST
        and get("HTTP_ACCEPT", "*/*") in ("*/*", "application/json")
        # A browser is told from a program, and gets its cookie.
        and not (get("QUERY_STRING") or get("HTTP_COOKIE") or get("HTTP_SEC_FETCH_SITE"))
        and not (get("HTTP_CONTENT_ENCODING") or get("HTTP_TRANSFER_ENCODING"))
        and _is_our_host(get("HTTP_HOST", ""), tuple(settings.ALLOWED_HOSTS))
    )
    if not usual:
        return None
    body = environ["wsgi.input"].read(int(length))
    found = signing.work_of(environ["PATH_INFO"], body) if len(body) == int(length) else None
    if found is None:
        environ["wsgi.input"] = BytesIO(body)
    return found


def _sign_in(environ: dict[str, Any], start_response: Start, work: signing.Work) -> list[bytes]:
    request = LaneRequest(environ)
    context = context_of(cast(HttpRequest, request))
    agent = environ.get("HTTP_USER_AGENT", "")[:300]
    actor = replace(ANONYMOUS, ip=client_ip(cast(HttpRequest, request)), user_agent=agent)
    own = [*OWN_HEADERS, ("X-Correlation-Id", context["correlation_id"]), ("Allow", "OPTIONS, POST")]
    if settings.SECURE_HSTS_SECONDS and _is_secure(environ):
        own.append(("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}"))
    caller = signing.counted(actor.ip)
    with bind_new(RequestContext(actor=actor, **context)):
        try:
            with looked_after():
                body = orjson.dumps(work(actor, caller))
        except MindWeaveError as error:
            response = problem_response(error, WSGIRequest(environ))
            if caller is not None and caller.result is not None:
                own += [each for each in caller.result.headers().items() if each[0] not in response.headers]
            return _send(response, tuple(own), start_response)
        except Exception as error:
            return _send(response_for_exception(WSGIRequest(environ), error), tuple(own), start_response)
    if caller is not None and caller.result is not None:
        own += caller.result.headers().items()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    start_response("200 OK", [*headers, *own])
    return [body]


def _is_secure(environ: dict[str, Any]) -> bool:
    header = settings.SECURE_PROXY_SSL_HEADER
    if header and header[0] in environ:
        return bool(environ[header[0]] == header[1])
    return bool(environ.get("wsgi.url_scheme") == "https")


def _send(response: HttpResponse, also: tuple[tuple[str, str], ...], start_response: Start) -> list[bytes]:
    """Not the response itself is passed on: its end would look through all connections; the lane does once a second."""
    headers = [*response.items(), *also]
    content = response.content
    if "Content-Length" not in response.headers:
        headers.append(("Content-Length", str(len(content))))
    start_response(f"{response.status_code} {response.reason_phrase}", headers)
    return [content]
