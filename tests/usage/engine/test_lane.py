"""The fast lane answers as Django's handler does."""

import json
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler

from mindweave.lane import Lane
from tests.usage.engine.conftest import World, event

OWN = "01a209e4-215f-7371-be17-514d2bfae41c"
Answer = tuple[str, dict[str, str], bytes]


@pytest.fixture(scope="module")
def applications() -> tuple[Callable[..., Any], Callable[..., Any]]:
    django = WSGIHandler()
    return Lane(django), django


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
