"""Signing in over the API: passwords, tokens, refusals that tell nothing."""

from datetime import timedelta
from unittest import mock

import pytest
from django.contrib.auth import hashers

from apps.core.errors import PermissionDenied
from apps.core.ids import uuid7
from apps.identity import services
from apps.identity.models import SignIn, User
from apps.identity.ports import login_policy
from tests.cast import PASSWORD, Api, make_person, published, trail

WRONG = "not the password at all"


def login(email: str = "alice@example.com", password: str = PASSWORD, **where):
    return Api(**where).post("/auth/login", {"email": email, "password": password})


@pytest.fixture
def alice(db):
    return make_person("alice")


# ---------------------------------------------------------------- registering
def test_registering_makes_a_person_who_can_sign_in_whatever_the_case_of_the_address(db) -> None:
    body = {"email": " Alice@Example.com ", "password": PASSWORD, "name": "Alice"}
    answer = Api().post("/auth/register", body)
    assert answer.status_code == 201
    user = User.objects.get()
    assert answer.json() == {"id": str(user.pk), "email": "alice@example.com", "name": "Alice"}
    assert (user.is_staff, user.email_verified_at) == (False, None)
    assert login("ALICE@example.com").status_code == 200
    assert published("user.created") == [{"user_id": str(user.pk), "email": "alice@example.com", "name": "Alice"}]
    assert [entry.target_id for entry in trail("user.created")] == [str(user.pk)]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"email": "nobody"}, "/email"),
        ({"email": "a\x00@example.com"}, "/email"),
        ({"password": "short"}, "/password"),
        ({"password": "password1234"}, "/password"),
        ({"password": "carol@example.com"}, "/password"),
        ({"is_staff": True}, "/is_staff"),
    ],
)
def test_a_registration_that_is_not_valid_says_where_and_makes_nobody(db, change, pointer) -> None:
    body = {"email": "carol@example.com", "password": PASSWORD} | change
    answer = Api().post("/auth/register", body)
    assert answer.status_code == 400
    assert {error["pointer"] for error in answer.json()["errors"]} == {pointer}
    assert not User.objects.exists()
    assert published("user.created") == []


def test_an_address_is_registered_once(alice) -> None:
    answer = Api().post("/auth/register", {"email": "ALICE@example.com", "password": PASSWORD})
    assert answer.status_code == 201, "nobody is told that it is taken"
    assert User.objects.count() == 1


def test_passwords_are_kept_by_argon2(db, settings) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
    make_person("argon")
    assert User.objects.get().password.startswith("argon2$argon2id$")


# ---------------------------------------------------------------- signing in
def test_signing_in_gives_tokens_that_say_who_it_is(alice) -> None:
    answer = login()
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 300)
    me = Api(token=body["access_token"]).get("/auth/me")
    assert me.status_code == 200
    assert me.json() == {
        "id": str(alice.id),
        "email": "alice@example.com",
        "name": "Alice",
        "email_verified": True,
        "timezone": "",
        "default_org_id": None,
    }
    assert published("user.login") == [{"user_id": str(alice.id), "method": "password"}]
    [entry] = trail("user.login")
    assert (entry.actor_id, entry.ip) == (alice.id, "192.0.2.10")


def test_a_wrong_password_and_an_unknown_address_are_answered_alike(alice) -> None:
    answers = [login(password=WRONG), login("nobody@example.com"), login("nobody@example.com", WRONG)]
    assert [answer.status_code for answer in answers] == [401] * 3
    bodies = [{k: v for k, v in answer.json().items() if k != "correlation_id"} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["code"] == "invalid_credentials"
    assert all(answer.headers["WWW-Authenticate"].startswith("Bearer") for answer in answers)
    assert not SignIn.objects.exists()
    # The second one for the same address is counted, not told again.
    assert len(trail("user.login_refused")) == 2


def test_a_wrong_password_and_an_unknown_address_cost_the_same_work(alice) -> None:
    def hashes(email: str) -> int:
        hasher = hashers.get_hasher()
        with mock.patch.object(type(hasher), "encode", autospec=True, side_effect=type(hasher).encode) as encode:
            login(email, WRONG)
        return encode.call_count

    assert hashes("alice@example.com") == hashes("nobody@example.com") == 1


def test_a_person_who_was_deactivated_cannot_sign_in_and_their_tokens_are_dead(alice) -> None:
    token = login().json()["access_token"]
    User.objects.update(is_active=False)
    assert login().json()["code"] == "invalid_credentials"
    assert Api(token=token).get("/auth/me").status_code == 401


def test_the_login_policy_has_the_last_word_after_a_right_password(alice, monkeypatch) -> None:
    class SingleSignOn:
        def refusal(self, email, method):
            return PermissionDenied("Sign in through your organisation", code="sso_required")

        def may_refuse(self, email):
            return "true", []

    monkeypatch.setattr(login_policy, "get", SingleSignOn)
    assert login().json()["code"] == "sso_required"
    assert login(password=WRONG).json()["code"] == "invalid_credentials", "the policy tells nothing to a guesser"
    assert not SignIn.objects.exists()


# ---------------------------------------------------------------- how often
def test_guessing_is_slowed_down_for_the_guessers_network_only(alice) -> None:
    make_person("bob")
    guesses = [login(password=WRONG).status_code for _ in range(11)]
    assert guesses == [401] * 10 + [429]
    refused = login()
    assert refused.status_code == 429, "nor does the right password tell that it is right"
    assert int(refused.headers["Retry-After"]) > 0
    assert login(ip="198.51.100.7").status_code == 200, "its owner elsewhere is not locked out"
    assert login("bob@example.com").status_code == 200, "nor is anybody else on the same network"


def test_signing_in_rightly_uses_nothing_up(alice) -> None:
    assert {login().status_code for _ in range(15)} == {200}


def test_a_spray_over_many_addresses_is_slowed_down_for_its_network(alice, monkeypatch) -> None:
    from apps.core.ratelimit import Limit
    from apps.identity.services import passwords

    monkeypatch.setattr(passwords, "_PER_NETWORK", Limit("login-network", 5, 300))
    answers = [login(f"nobody{n}@example.com").status_code for n in range(6)]
    assert answers == [401] * 5 + [429]


# ---------------------------------------------------------------- signing out
def test_signing_out_ends_the_access_token_and_the_refresh_token_at_once(alice) -> None:
    body = login().json()
    api = Api(token=body["access_token"])
    assert api.post("/auth/logout").status_code == 204
    assert api.get("/auth/me").json()["code"] == "session_ended"
    assert Api().post("/auth/refresh", {"refresh_token": body["refresh_token"]}).status_code == 401
    assert published("user.logout") == [{"user_id": str(alice.id)}]


def test_an_end_in_another_process_is_seen_here_within_a_second(alice, monkeypatch) -> None:
    from apps.identity import book

    monkeypatch.setattr(book, "_CACHE_SECONDS", 0.8)
    api = Api(token=login().json()["access_token"])
    assert api.get("/auth/me").status_code == 200
    SignIn.objects.update(ended_at="2026-01-01T00:00Z")  # what the other process wrote
    later = book.time.monotonic() + 1.0
    monkeypatch.setattr(book.time, "monotonic", lambda: later)
    assert api.get("/auth/me").status_code == 401


def test_signing_out_ends_one_sign_in_and_leaves_the_others(alice) -> None:
    first, second = (login().json()["access_token"] for _ in range(2))
    Api(token=first).post("/auth/logout")
    assert Api(token=first).get("/auth/me").status_code == 401
    assert Api(token=second).get("/auth/me").status_code == 200


def test_ending_all_sessions_ends_those_of_the_web_and_of_nobody_else(alice) -> None:
    bob = make_person("bob")
    web, other = Api(alice), Api(bob)
    tokens = Api(token=login().json()["access_token"])
    assert services.end_all_sessions(user_id=alice.id, reason="ended_by_staff") == 2
    assert web.get("/auth/me").status_code == tokens.get("/auth/me").status_code == 401
    assert other.get("/auth/me").status_code == 200
    assert [event["reason"] for event in published("user.session.invalid")] == ["ended_by_staff"]


def test_signing_out_of_the_web_by_the_api_takes_the_csrf_token(alice) -> None:
    api = Api(alice)
    api.client.handler.enforce_csrf_checks = True
    assert api.post("/auth/logout").status_code == 403
    assert api.get("/auth/me").status_code == 200
    api.client.handler.enforce_csrf_checks = False
    assert api.post("/auth/logout").status_code == 204
    assert api.get("/auth/me").status_code == 401


# ---------------------------------------------------------------- people
def test_people_are_seen_by_those_who_share_an_organisation_with_them(cast) -> None:
    seen = Api(cast.dora).get(f"/users/{cast.bob.id}")
    assert seen.json() == {"id": str(cast.bob.id), "email": "bob@example.com", "name": "Bob"}
    assert Api(cast.dora).get(f"/users/{cast.charlie.id}").status_code == 404
    assert Api(cast.charlie).get(f"/users/{cast.bob.id}").status_code == 404
    assert Api(cast.dora).get(f"/users/{uuid7()}").status_code == 404
    assert Api().get(f"/users/{cast.bob.id}").status_code == 401


# ---------------------------------------------------------------- retention
def test_what_ended_a_month_ago_is_deleted_and_nothing_that_lives(alice) -> None:
    from django.contrib.sessions.models import Session

    from apps.core.clock import now
    from apps.identity.jobs import prune

    old, recent, live = (SignIn.objects.get(pk=_family_of(login())) for _ in range(3))
    web = Api(alice)
    Session.objects.create(session_key="expired", session_data="", expire_date=now() - timedelta(days=1))
    SignIn.objects.filter(pk=old.pk).update(ended_at=now() - timedelta(days=31))
    SignIn.objects.filter(pk=recent.pk).update(ended_at=now() - timedelta(days=29))
    prune()
    assert set(SignIn.objects.filter(kind="api").values_list("pk", flat=True)) == {recent.pk, live.pk}
    assert not Session.objects.filter(session_key="expired").exists()
    assert web.get("/auth/me").status_code == 200


def _family_of(answer):
    from apps.identity import jwt

    return jwt.verify_access_token(answer.json()["access_token"]).session_id
