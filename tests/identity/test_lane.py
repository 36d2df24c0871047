"""Signing in past Django and DRF answers as it does through them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.signals import request_started
from django.db import close_old_connections

from apps.identity.models import SignIn
from mindweave.handlers import ApiHandler
from mindweave.lane import Lane
from tests.cast import PASSWORD, Cast, trail
from tests.usage.engine.test_lane import OWN, ask

VOLATILE = {"Content-Length", "RateLimit"}
RIGHT = {"email": "bob@example.com", "password": PASSWORD}


@pytest.fixture
def applications(settings: Any) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    settings.ALLOWED_HOSTS = ["localhost"]
    django = ApiHandler()
    # As Django's test client has it: the connection of the test's own transaction stays.
    request_started.disconnect(close_old_connections)
    yield Lane(django), django
    request_started.connect(close_old_connections)


def both(applications: Any, path: str, body: bytes, **environ: str) -> tuple[Any, Any]:
    given = {"HTTP_HOST": "localhost", "HTTP_USER_AGENT": "curl/8.5", "HTTP_X_CORRELATION_ID": OWN, **environ}
    lane, django = (ask(application, path, body, **given) for application in applications)
    assert lane[0] == django[0]
    assert lane[1].keys() >= django[1].keys() - {"Vary"}
    for name in django[1].keys() - VOLATILE - {"Vary"}:
        assert lane[1][name] == django[1][name], name
    return lane, django


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"{}", b'{"email":"bob@example.com"}', b'{"email":1,"password":2}',
        b'{"email":"bob@example.com","password":"x","more":1}', b'{"email":" ","password":"x"}',
        b'{"email":"bob@example.com","password":"\\u0000"}', b'{"email":"bob@example.com","password":"\\ud800"}',
        b'{"email":"bob@example.com","password":""}', b'{"email":"bob@example.com","password":"\xff"}',
        json.dumps({"email": "b" * 255, "password": "x"}).encode(),
        json.dumps({"email": "bob@example.com", "password": "x" * 257}).encode(),
        json.dumps({"email": "bob@example.com", "password": "wrong"}).encode(),
        json.dumps({"email": "nobody@example.com", "password": "wrong"}).encode(),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_alike(applications: Any, cast: Cast, body: bytes) -> None:
    sign_ins = SignIn.objects.count()
    lane, django = both(applications, "/auth/login", body)
    assert json.loads(lane[2]) == json.loads(django[2])
    assert SignIn.objects.count() == sign_ins


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_HOST": "elsewhere.test"}, {"CONTENT_TYPE": "text/plain"}, {"HTTP_ACCEPT": "text/html"},
        {"REQUEST_METHOD": "GET"}, {"REQUEST_METHOD": "PUT"}, {"REQUEST_METHOD": "OPTIONS"},
    ],
)  # fmt: skip
def test_what_is_unusual_goes_the_usual_way(applications: Any, cast: Cast, environ: dict[str, str]) -> None:
    lane, _ = both(applications, "/auth/login", json.dumps(RIGHT).encode(), **environ)
    assert not lane[0].startswith("200") or environ.get("REQUEST_METHOD") == "OPTIONS"
    assert not SignIn.objects.filter(user_id=cast.bob.id, kind="api", user_agent="curl/8.5").exists()


def test_a_sign_in_is_the_same_and_its_tokens_are_refreshed(applications: Any, cast: Cast, settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS, settings.SECURE_SSL_REDIRECT = 60, False
    given = {"email": " Bob@Example.com ", "password": PASSWORD}
    lane, django = both(
        applications, "/auth/login", json.dumps(given).encode(), HTTP_X_FORWARDED_PROTO="https",
        HTTP_X_FORWARDED_FOR="203.0.113.9", HTTP_ACCEPT="application/json",
    )  # fmt: skip
    assert "Strict-Transport-Security" in lane[1]
    answers = [json.loads(each[2]) for each in (lane, django)]
    assert answers[0].keys() == answers[1].keys()
    rows = SignIn.objects.filter(user_id=cast.bob.id, kind="api").values_list("ip", "user_agent", "device", "methods")
    assert len(rows) == 2
    assert len({str(row) for row in rows}) == 1
    entries = trail("user.login", target_id=str(cast.bob.id))[-2:]
    assert [(entry.ip, entry.actor_id, entry.correlation_id) for entry in entries] == [
        ("203.0.113.9", cast.bob.id, OWN)
    ] * 2
    for application, answer in zip(applications, answers, strict=True):
        body = json.dumps({"refresh_token": answer["refresh_token"]}).encode()
        refreshed = [ask(application, "/auth/refresh", body, HTTP_HOST="localhost") for _ in range(2)]
        assert [each[0] for each in refreshed] == ["200 OK", "401 Unauthorized"]
        assert json.loads(refreshed[0][2]).keys() == answer.keys()
