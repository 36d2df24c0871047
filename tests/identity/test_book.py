"""The book of sign-ins: browsers and the API are rows of one kind, and their end is at once."""

from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.core import clock
from apps.core.clock import now
from apps.identity import book, devices, services
from apps.identity.models import SignIn
from tests.cast import PASSWORD, Api, make_person, published, sign_in, trail

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0"


@pytest.fixture
def alice(db):
    return make_person("alice")


def browser(**form: str) -> Client:
    """Somebody who signed in on the page."""
    client = Client(REMOTE_ADDR="192.0.2.10", headers={"user-agent": FIREFOX})
    answer = client.post("/login", {"email": "alice@example.com", "password": PASSWORD, **form})
    assert answer.status_code == 302, answer.content
    return client


def tokens() -> Api:
    body = Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).json()
    return Api(token=body["access_token"])


def test_a_sign_in_in_a_browser_is_a_row_that_says_how_and_from_where(alice) -> None:
    browser()
    row = SignIn.objects.get()
    assert (row.kind, row.user_id, row.ip, row.methods) == ("web", alice.id, "192.0.2.10", ["password"])
    assert (row.device, row.user_agent, row.country) == ("Firefox 132 on Linux", FIREFOX, "")
    assert row.authenticated_at is not None


def test_a_session_that_is_not_in_the_book_is_nobodys(alice) -> None:
    client = browser()
    session = client.session
    del session[book.HELD]
    session.save()
    assert client.get("/auth/me").status_code == 401
    assert not Session.objects.exists(), "nor is it kept"


def test_a_session_cannot_name_the_sign_in_of_somebody_else(alice) -> None:
    client, bob = browser(), Client()
    sign_in(bob, services.check_password(email=make_person("bob").email, password=PASSWORD, ip=None))
    session = client.session
    session[book.HELD] = bob.session[book.HELD]
    session.save()
    assert client.get("/auth/me").status_code == 401


def test_a_session_cannot_name_a_sign_in_over_the_api(alice) -> None:
    client = browser()
    tokens()
    session = client.session
    session[book.HELD] = {"id": str(SignIn.objects.get(kind="api").pk), "at": 0.0}
    session.save()
    assert client.get("/auth/me").status_code == 401


def test_ending_one_ends_it_and_no_other(alice) -> None:
    here, there, program = browser(), browser(), tokens()
    row = SignIn.objects.filter(kind="web").latest("created_at")
    services.end_session(user_id=alice.id, session_id=row.pk)
    assert [each.get("/auth/me").status_code for each in (here, there, program)] == [200, 401, 200]
    assert SignIn.objects.get(pk=row.pk).end_reason == "ended_by_person"
    assert published("user.session.invalid") == [{"user_id": str(alice.id), "reason": "ended_by_person"}]
    assert len(trail("user.session.invalid")) == 1


def test_ending_all_others_keeps_the_one(alice) -> None:
    here, there, program = browser(), browser(), tokens()
    keep = SignIn.objects.filter(kind="web").earliest("created_at")
    assert services.end_all_sessions(user_id=alice.id, reason="ended_by_person", keep=keep.pk) == 2
    assert [each.get("/auth/me").status_code for each in (here, there, program)] == [200, 401, 401]


def test_ending_all_reads_no_session_of_anybody(alice) -> None:
    browser()
    with CaptureQueriesContext(connection) as captured:
        services.end_all_sessions(user_id=alice.id, reason="ended_by_staff")
    assert not [query["sql"] for query in captured if "django_session" in query["sql"]]


def test_the_end_in_another_process_is_seen_within_a_second(alice, monkeypatch) -> None:
    monkeypatch.setattr(book, "_CACHE_SECONDS", 0.8)
    client = browser()
    assert client.get("/auth/me").status_code == 200
    SignIn.objects.update(ended_at=now())  # what the other process wrote
    later = book.time.monotonic() + 1.0
    monkeypatch.setattr(book.time, "monotonic", lambda: later)
    assert client.get("/auth/me").status_code == 401


def test_twenty_requests_in_a_moment_ask_the_book_once(alice, monkeypatch) -> None:
    monkeypatch.setattr(book, "_CACHE_SECONDS", 60.0)
    client = browser()
    client.get("/auth/me")
    with CaptureQueriesContext(connection) as captured:
        for _ in range(20):
            client.get("/auth/me")
    assert not [query["sql"] for query in captured if "identity_signin" in query["sql"]]


def test_signing_out_and_signing_in_again_are_ends_in_the_book(alice) -> None:
    client = browser()
    client.post("/logout")
    assert SignIn.objects.get().end_reason == "logout"
    assert client.get("/auth/me").status_code == 401


# ---------------------------------------------------------------- limits of time
def test_a_browser_that_is_not_used_is_signed_out(alice, settings) -> None:
    settings.SESSION_IDLE = timedelta(hours=1)
    client = browser()
    with clock.freeze(now() + timedelta(minutes=59)):
        assert client.get("/auth/me").status_code == 200
    with clock.freeze(now() + timedelta(minutes=118)):
        assert client.get("/auth/me").status_code == 200, "its use was written down"
    with clock.freeze(now() + timedelta(minutes=179)):
        assert client.get("/auth/me").status_code == 401


def test_a_browser_is_signed_out_in_the_end_whatever_its_use(alice, settings) -> None:
    settings.SESSION_LONGEST = timedelta(hours=2)
    client = browser()
    for minutes in (50, 100):
        with clock.freeze(now() + timedelta(minutes=minutes)):
            assert client.get("/auth/me").status_code == 200
    with clock.freeze(now() + timedelta(minutes=121)):
        assert client.get("/auth/me").status_code == 401


def test_a_sign_in_over_the_api_ends_however_often_it_is_refreshed(alice, settings) -> None:
    settings.API_SIGN_IN_LONGEST = timedelta(days=40)
    token = services.login(email="alice@example.com", password=PASSWORD).refresh_token
    with clock.freeze(now() + timedelta(days=25)):
        token = services.refresh(refresh_token=token).refresh_token
    with clock.freeze(now() + timedelta(days=41)):
        assert Api().post("/auth/refresh", {"refresh_token": token}).status_code == 401


def test_use_is_written_down_once_a_minute(alice) -> None:
    client = browser()
    first = SignIn.objects.get().last_used_at
    with clock.freeze(first + timedelta(seconds=50)):
        client.get("/auth/me")
    assert SignIn.objects.get().last_used_at == first
    with clock.freeze(first + timedelta(seconds=61)):
        client.get("/auth/me")
    assert SignIn.objects.get().last_used_at == first + timedelta(seconds=61)


# ---------------------------------------------------------------- what a sign-in knows
def test_showing_a_credential_again_is_known_at_once_in_every_process(alice, monkeypatch) -> None:
    monkeypatch.setattr(book, "_CACHE_SECONDS", 60.0)
    client = browser()
    old = now() - timedelta(hours=3)
    SignIn.objects.update(authenticated_at=old)
    book.forget_sessions()
    client.get("/auth/me")
    remembered = dict(book._live)
    client.post("/account/confirm", {"password": PASSWORD})
    book._live.update(remembered)  # another process, which has not heard of it
    row = book.sign_in_of_session(client.session)
    assert row is not None
    assert row.authenticated_at > old


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        (FIREFOX, "Firefox 132 on Linux"),
        ("curl/8.1.2", "curl 8"),
        ("anthropic-python/1.0 httpx", "anthropic-python 1"),
        ("", ""),
        ("(((", ""),
    ],
)
def test_a_device_is_told_in_words(agent, device) -> None:
    assert devices.device_of_agent(agent) == device


def test_no_place_is_told_without_a_table_or_for_a_private_address(settings, tmp_path) -> None:
    assert devices.country_of("192.0.2.1") == ""
    broken = tmp_path / "countries.mmdb"
    broken.write_bytes(b"not a table")
    settings.GEOIP_COUNTRY_FILE = str(broken)
    assert devices.country_of("8.8.8.8") == ""
    assert devices.country_of("10.0.0.1") == ""
    assert devices.country_of(None) == ""
