"""Access tokens, their keys, and refresh tokens that are used once."""

import base64
import json
import time
from datetime import timedelta

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connection

from apps.core import clock
from apps.core.clock import now
from apps.core.ids import uuid7
from apps.identity import jwt, services
from apps.identity.models import RefreshToken, SignIn, SigningKey, User
from tests.cast import PASSWORD, Api, at_once, make_person, published


@pytest.fixture
def alice(db):
    return make_person("alice")


@pytest.fixture
def pair(alice) -> dict[str, str]:
    return login()


def login() -> dict[str, str]:
    return Api().post("/auth/login", {"email": "alice@example.com", "password": PASSWORD}).json()


def refresh(token: str):
    return Api().post("/auth/refresh", {"refresh_token": token})


def me(token: str) -> int:
    return Api(token=token).get("/auth/me").status_code


# ---------------------------------------------------------------- access tokens
def test_anybody_can_verify_an_access_token_by_the_published_keys(pair, alice) -> None:
    answer = Api().get("/.well-known/jwks.json")
    [key] = answer.json()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}, "nothing of the private half"
    claims = pyjwt.decode(
        pair["access_token"], pyjwt.PyJWK(key), algorithms=["EdDSA"], audience="mindweave", issuer=settings.JWT_ISSUER
    )
    assert claims["sub"] == str(alice.id)
    assert claims["exp"] - claims["iat"] == 300


def test_the_private_half_of_a_signing_key_is_encrypted_where_it_is_kept(pair) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT private_pem::text FROM identity_signingkey")
        stored = cursor.fetchone()[0]
    assert "PRIVATE KEY" not in stored
    assert "PRIVATE KEY" in SigningKey.objects.get().private_pem


def _parts(token: str) -> list[dict]:
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2]]


def _b64(value: dict) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forged(token: str) -> dict[str, str]:
    """What an attacker would try."""
    header, claims = _parts(token)
    foreign = Ed25519PrivateKey.generate()
    public = SigningKey.objects.get().public_jwk["x"]
    return {
        "no algorithm": f"{_b64({**header, 'alg': 'none'})}.{_b64(claims)}.",
        "another claim": f"{token.split('.')[0]}.{_b64({**claims, 'sub': str(uuid7())})}.{token.split('.')[2]}",
        "a foreign key": pyjwt.encode(claims, foreign, algorithm="EdDSA", headers={"kid": header["kid"]}),
        "an unknown key": pyjwt.encode(claims, foreign, algorithm="EdDSA", headers={"kid": str(uuid7())}),
        "no key named": pyjwt.encode(claims, foreign, algorithm="EdDSA"),
        "the public key as a secret": pyjwt.encode(claims, public, algorithm="HS256", headers={"kid": header["kid"]}),
        "not a token": "abc.def.ghi",
        "the refresh token of nobody": "x" * 43,
    }


def test_a_forged_access_token_is_refused(pair) -> None:
    for what, token in forged(pair["access_token"]).items():
        answer = Api(token=token).get("/auth/me")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token"), what
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="mindweave"'


def test_a_token_of_our_own_key_for_another_issuer_or_audience_is_refused(pair) -> None:
    header, claims = _parts(pair["access_token"])
    _, private = jwt._load().signing
    for change in ({"iss": "https://elsewhere.example"}, {"aud": "mindweave/mfa"}, {"aud": "elsewhere"}, {"sub": "x"}):
        token = pyjwt.encode({**claims, **change}, private, algorithm="EdDSA", headers={"kid": header["kid"]})
        assert me(token) == 401, change
    for missing in ("iss", "aud", "exp", "iat", "sub", "sid"):
        kept = {name: value for name, value in claims.items() if name != missing}
        assert me(pyjwt.encode(kept, private, algorithm="EdDSA", headers={"kid": header["kid"]})) == 401, missing
    same = pyjwt.encode(claims, private, algorithm="EdDSA", headers={"kid": header["kid"]})
    assert me(same) == 200


def test_an_access_token_lives_five_minutes(alice) -> None:
    with clock.freeze(now() - timedelta(minutes=5, seconds=1)):
        old = login()["access_token"]
    assert me(old) == 401


def test_a_token_for_the_second_factor_is_no_access_token_and_the_other_way_round(pair, alice) -> None:
    assert me(jwt.issue_mfa_token(user_id=alice.id, shown="")) == 401
    with pytest.raises(jwt.InvalidToken):
        jwt.verify_mfa_token(pair["access_token"])


def test_a_token_is_of_the_person_whose_sign_in_it_names(pair, alice) -> None:
    family = SignIn.objects.get()
    assert me(jwt.issue_access_token(user_id=uuid7(), session_id=family.pk)) == 401
    assert me(jwt.issue_access_token(user_id=alice.id, session_id=uuid7())) == 401


# ---------------------------------------------------------------- rotation of signing keys
def test_tokens_of_the_key_before_go_on_working_until_its_successor_is_an_hour_old(pair) -> None:
    with clock.freeze(now() - timedelta(days=30)):
        SigningKey.objects.update(created_at=now())
    first = SigningKey.objects.get().pk
    with clock.freeze(now() - timedelta(hours=2)):
        second = services.rotate_signing_key()
    jwt.forget_keys()
    assert me(pair["access_token"]) == 200
    assert _parts(login()["access_token"])[0]["kid"] == str(second), "the new key signs"
    third = services.rotate_signing_key()
    live = set(SigningKey.objects.filter(retired_at__isnull=True).values_list("pk", flat=True))
    assert live == {second, third}, first
    jwt.forget_keys()
    assert me(pair["access_token"]) == 401
    assert {key["kid"] for key in Api().get("/.well-known/jwks.json").json()["keys"]} == {str(second), str(third)}


def test_a_key_that_another_process_made_is_found_at_its_first_token(pair, monkeypatch) -> None:
    cached = jwt._load()
    services.rotate_signing_key()
    jwt.forget_keys()
    fresh = login()["access_token"]
    jwt._keys = cached  # as in a process that read the keys a moment ago
    later = time.monotonic() + 1.0
    monkeypatch.setattr(jwt.time, "monotonic", lambda: later)
    assert me(fresh) == 200


# ---------------------------------------------------------------- refresh tokens
def test_refreshing_gives_a_new_pair_of_the_same_sign_in(pair) -> None:
    answer = refresh(pair["refresh_token"])
    assert answer.status_code == 200
    fresh = answer.json()
    assert set(fresh) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert fresh["refresh_token"] != pair["refresh_token"]
    assert me(fresh["access_token"]) == 200
    sessions = {jwt.verify_access_token(each["access_token"]).session_id for each in (pair, fresh)}
    assert sessions == {SignIn.objects.get().pk}


def test_a_refresh_token_used_twice_ends_its_whole_family_and_no_other(pair, alice) -> None:
    other = login()
    fresh = refresh(pair["refresh_token"]).json()
    again = refresh(pair["refresh_token"])
    assert (again.status_code, again.json()["code"]) == (401, "invalid_refresh_token")
    assert me(fresh["access_token"]) == 401
    assert refresh(fresh["refresh_token"]).status_code == 401
    assert refresh(other["refresh_token"]).status_code == 200
    assert published("user.session.invalid") == [{"user_id": str(alice.id), "reason": "refresh_token_reused"}]


@pytest.mark.parametrize("token", ["x" * 43, "", "\u2603"])
def test_a_refresh_token_that_is_not_ours_is_refused(pair, token) -> None:
    assert refresh(token).status_code in {400, 401}
    assert SignIn.objects.get().ended_at is None


def test_a_refresh_token_is_kept_as_a_digest_only(pair) -> None:
    digest = bytes(RefreshToken.objects.get().digest)
    assert len(digest) == 32
    assert pair["refresh_token"].encode() not in digest


def test_a_sign_in_unused_for_its_lifetime_is_over(pair) -> None:
    SignIn.objects.update(expires_at=now() - timedelta(seconds=1))
    assert refresh(pair["refresh_token"]).status_code == 401
    assert me(pair["access_token"]) == 401


def test_a_deactivated_person_refreshes_nothing(pair) -> None:
    User.objects.update(is_active=False)
    assert refresh(pair["refresh_token"]).status_code == 401


@pytest.mark.django_db(transaction=True)
def test_of_two_refreshes_with_the_same_token_at_once_one_wins_and_the_family_ends() -> None:
    make_person("alice")
    token = services.login(email="alice@example.com", password=PASSWORD).refresh_token
    results = at_once(*[lambda: services.refresh(refresh_token=token)] * 2)
    assert sorted(type(result).__name__ for result in results) == ["NotAuthenticated", "TokenPair"]
    assert SignIn.objects.get().end_reason == "refresh_token_reused"
    assert RefreshToken.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_make_one_signing_key() -> None:
    def first_use() -> str:
        jwt.forget_keys()
        return jwt.issue_mfa_token(user_id=uuid7(), shown="")

    results = at_once(first_use, first_use, first_use)
    assert SigningKey.objects.count() == 1
    jwt.forget_keys()
    assert all(jwt.verify_mfa_token(token) for token in results)
