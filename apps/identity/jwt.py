"""Access tokens: JWTs signed with EdDSA (RFC 8037), five minutes long, verifiable by anybody through the JWKS."""

import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import transaction
from jwt.algorithms import OKPAlgorithm

from apps.core.clock import now
from apps.core.ids import uuid7
from apps.identity.models import SigningKey

__all__ = ["AccessClaims", "InvalidToken", "forget_keys", "issue_access_token", "issue_mfa_token", "jwks", "make_key",
           "verify_access_token", "verify_mfa_token"]  # fmt: skip

_ALGORITHM = "EdDSA"
_AUDIENCE = "mindweave"
_MFA_AUDIENCE = "mindweave/mfa"
_MFA_LIFETIME = timedelta(minutes=5)
_CACHE_SECONDS = 5.0
# Another process may have begun to sign with a key that this one has not read yet; a forged name must not cost a query
# each time.
_UNKNOWN_KEY_SECONDS = 0.5


class InvalidToken(ValueError):
    """A token that is not ours, is expired or was tampered with."""


@dataclass(frozen=True, slots=True)
class AccessClaims:
    """What an access token says: who, and by which sign-in."""

    user_id: UUID
    session_id: UUID


@dataclass(frozen=True, slots=True)
class _Keys:
    signing: tuple[str, Any]
    verifying: dict[str, Any]
    documents: list[dict[str, Any]]
    read_at: float


@dataclass(frozen=True, slots=True)
class _Verified:
    claims: AccessClaims
    expires_at: float
    key_id: str


# A client shows its token with each request: its signature is reckoned once, its time and its key are looked at always.
_verified: dict[str, _Verified] = {}
_VERIFIED_SIZE = 20_000
_keys: _Keys | None = None
_lock = threading.Lock()


def make_key() -> SigningKey:
    """Make and store a new pair; it signs from now on."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_id = uuid7()
    document = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    key = SigningKey.objects.create(
        id=key_id,
        private_pem=pem.decode(),
        public_jwk={**document, "kid": str(key_id), "use": "sig", "alg": _ALGORITHM},
    )
    forget_keys()
    return key


def forget_keys() -> None:
    """Read the keys again on the next use."""
    global _keys
    _keys = None
    _verified.clear()


def _load(max_age: float = _CACHE_SECONDS) -> _Keys:
    """The keys, read at most every ``max_age`` seconds; the very first is made here, once for all processes."""
    global _keys
    keys = _keys
    if keys is not None and time.monotonic() - keys.read_at < max_age:
        return keys
    with _lock:
        rows = list(SigningKey.objects.filter(retired_at__isnull=True))
        if not rows:
            with transaction.atomic():
                from django.db import connection

                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('identity.first_signing_key'))")
                rows = list(SigningKey.objects.filter(retired_at__isnull=True)) or [make_key()]
        private = serialization.load_pem_private_key(rows[0].private_pem.encode(), password=None)
        _keys = keys = _Keys(
            signing=(str(rows[0].pk), private),
            verifying={str(row.pk): OKPAlgorithm.from_jwk(row.public_jwk) for row in rows},
            documents=[row.public_jwk for row in rows],
            read_at=time.monotonic(),
        )
    return keys


def jwks() -> dict[str, Any]:
    """The public keys (RFC 7517)."""
    return {"keys": _load().documents}


def issue_access_token(*, user_id: UUID, session_id: UUID) -> str:
    """A token for one sign-in, ``JWT_ACCESS_LIFETIME`` long."""
    return _issue({"sub": str(user_id), "sid": str(session_id)}, _AUDIENCE, settings.JWT_ACCESS_LIFETIME)


def issue_mfa_token(*, user_id: UUID, shown: str) -> str:
    """Proof that the password was right, to be shown with the second factor within five minutes; ``shown`` says which
    password it was, to whoever knows it.
    """
    return _issue({"sub": str(user_id), "shown": shown}, _MFA_AUDIENCE, _MFA_LIFETIME)


def verify_access_token(token: str) -> AccessClaims:
    """What a valid access token says; :class:`InvalidToken` otherwise. Whether the sign-in still lives is not asked."""
    known = _verified.get(token)
    if known is not None and known.expires_at > now().timestamp() and known.key_id in _load().verifying:
        return known.claims
    payload = _verify(token, _AUDIENCE, ["sid"])
    claims = AccessClaims(user_id=_uuid(payload["sub"]), session_id=_uuid(payload["sid"]))
    if len(_verified) >= _VERIFIED_SIZE:
        _verified.clear()
    _verified[token] = _Verified(claims, payload["exp"], jwt.get_unverified_header(token)["kid"])
    return claims


def verify_mfa_token(token: str) -> tuple[UUID, str]:
    """Whose password was right, and which it was; :class:`InvalidToken` otherwise."""
    claims = _verify(token, _MFA_AUDIENCE, ["shown"])
    return _uuid(claims["sub"]), str(claims["shown"])


def _issue(claims: dict[str, Any], audience: str, lifetime: timedelta) -> str:
    key_id, private = _load().signing
    moment = now()
    claims |= {
        "iss": settings.JWT_ISSUER,
        "aud": audience,
        "iat": moment,
        "exp": moment + lifetime,
        "jti": str(uuid7()),
    }
    return jwt.encode(claims, private, algorithm=_ALGORITHM, headers={"kid": key_id})


def _verify(token: str, audience: str, also: list[str]) -> dict[str, Any]:
    try:
        key_id = jwt.get_unverified_header(token).get("kid")
        if not isinstance(key_id, str):
            raise InvalidToken("names no key")
        public = _load().verifying.get(key_id) or _load(_UNKNOWN_KEY_SECONDS).verifying.get(key_id)
        if public is None:
            raise InvalidToken("signed by no key of ours")
        return jwt.decode(
            token,
            public,
            algorithms=[_ALGORITHM],
            audience=audience,
            issuer=settings.JWT_ISSUER,
            options={"require": ["exp", "iat", "sub", *also]},
        )
    except jwt.InvalidTokenError as error:
        raise InvalidToken(str(error)) from error


def _uuid(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError as error:
        raise InvalidToken("its subject is not an id") from error
