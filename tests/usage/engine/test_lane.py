"""The fast lane answers as Django's handler does."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.db import close_old_connections

from mindweave.lane import Lane
from tests.usage.engine.conftest import World, event

OWN = "01a209e4-215f-7371-be17-514d2bfae41c"
Answer = tuple[str, dict[str, str], bytes]


@pytest.fixture(scope="module")
def applications() -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    django = WSGIHandler()
    # As Django's test client has it: the connection of the test's own transaction stays.
    request_started.disconnect(close_old_connections)
    yield Lane(django), django
    request_started.connect(close_old_connections)


def ask(application: Callable[..., Any], path: str, body: bytes, **environ: str) -> Answer:
    said: list[Any] = []
    base = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http", "wsgi.input": BytesIO(body), "wsgi.errors": BytesIO(),
    }  # fmt: skip
    parts = application({**base, **environ}, lambda status, headers: said.extend((status, dict(headers))))
    return said[0], said[1], b"".join(parts)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/track", "/otlp/v1/logs", "/otlp/v1/metrics", "/otlp/v1/traces"])
@pytest.mark.parametrize(
    ("body", "method", "authorised"),
    [
        (b"{}", "POST", True), (b"not json", "POST", True), (b'{"events":[]}', "POST", True), (b"{}", "POST", False),
        (b"", "GET", True), (b"", "PUT", True), (b"", "OPTIONS", True),
    ],
)  # fmt: skip
def test_it_answers_as_the_whole_middleware_would(
    applications: Any, world: World, path: str, body: bytes, method: str, authorised: bool
) -> None:
    environ = {"REQUEST_METHOD": method, "HTTP_X_CORRELATION_ID": OWN}
    if authorised:
        environ["HTTP_AUTHORIZATION"] = f"Bearer {world.token}"
    lane, django = (ask(application, path, body, **environ) for application in applications)
    assert lane[0] == django[0]
    volatile = {"Content-Length", "Vary"}
    for name in django[1].keys() - volatile:
        assert lane[1].get(name) == django[1][name], name
    if lane[2][:1] == b"{":
        assert json.loads(lane[2]) == json.loads(django[2])


def test_events_are_taken_in_and_the_callers_correlation_id_comes_back(applications: Any, world: World) -> None:
    lane, _ = applications
    body = json.dumps({"events": [event(), event()]}).encode()
    status, headers, answer = ask(
        lane, "/v1/events", body, HTTP_AUTHORIZATION=f"Bearer {world.token}", HTTP_X_CORRELATION_ID=OWN
    )
    assert (status, headers["X-Correlation-Id"]) == ("202 Accepted", OWN)
    assert json.loads(answer)["accepted"] == 2
    assert headers["Content-Length"] == str(len(answer))


def test_a_failure_in_a_view_is_a_problem_with_status_500(
    applications: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mindweave import lane as module

    def broken(request: Any) -> Any:
        raise RuntimeError("oh")

    monkeypatch.setitem(module._HANDLERS, "/v1/events", broken)
    status, headers, answer = ask(applications[0], "/v1/events", b"{}")
    assert (status[:3], headers["Content-Type"]) == ("500", "application/problem+json")
    assert b"oh" not in answer


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/auth/me", {"HTTP_AUTHORIZATION": "Bearer none"}),
        ("GET", "/v1/events", {"HTTP_AUTHORIZATION": "key"}),
        ("GET", "/v1/events", {"HTTP_X_API_KEY": "key"}),
        ("GET", "/v1/events", {"HTTP_X_API_KEY": "mw_wrong"}),
        ("POST", "/orgs", {"HTTP_AUTHORIZATION": "key"}),
        ("DELETE", "/orgs", {"HTTP_AUTHORIZATION": "key"}),
        ("GET", "/orgs/none", {"HTTP_AUTHORIZATION": "key"}),
        ("GET", "/v1/events", {"HTTP_AUTHORIZATION": "key", "HTTP_HOST": "b\x00d"}),
        ("GET", "/analytics/usage", {"HTTP_AUTHORIZATION": "key", "QUERY_STRING": "granularity=none"}),
    ],
)
def test_a_call_that_names_its_caller_by_a_header_is_answered_as_by_the_whole_middleware(
    applications: Any, world: World, method: str, path: str, headers: dict[str, str]
) -> None:
    named = {name: f"Bearer {world.token}" if value == "key" else value for name, value in headers.items()}
    environ = {"REQUEST_METHOD": method, "HTTP_X_CORRELATION_ID": OWN, **named}
    lane, django = (ask(application, path, b"", **environ) for application in applications)
    assert lane[0] == django[0]
    volatile = {"Content-Length", "Vary", "RateLimit", "Date"}
    for name in django[1].keys() - volatile:
        assert lane[1].get(name) == django[1][name], name
    if lane[2][:1] == b"{" and b"as_of" not in lane[2]:
        assert json.loads(lane[2]) == json.loads(django[2])


def test_a_cookie_beside_a_header_means_nothing(applications: Any, world: World) -> None:
    """What a browser adds by itself must not stand in for a header that names nobody."""
    from django.conf import settings
    from django.test import Client

    from apps.identity.models import User

    client = Client()
    client.force_login(User.objects.get(pk=world.alice))
    cookie = f"{settings.SESSION_COOKIE_NAME}={client.cookies[settings.SESSION_COOKIE_NAME].value}"
    lane, _ = applications
    assert ask(lane, "/auth/me", b"", REQUEST_METHOD="GET", HTTP_COOKIE=cookie)[0] == "200 OK"
    named = ask(lane, "/auth/me", b"", REQUEST_METHOD="GET", HTTP_COOKIE=cookie, HTTP_AUTHORIZATION="Bearer forged")
    assert named[0] == "401 Unauthorized"
