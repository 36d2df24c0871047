"""OpenID Connect, the relying party's side: the code flow with PKCE, and what makes an ID token valid."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from django.conf import settings
from django.core.cache import cache
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from apps.core.clock import now
from apps.core.http import HTTPError, OutboundRefused, Response, fetch
from apps.sso.contracts import Arrival
from apps.sso.models import Connection
from apps.sso.selectors import our_addresses

__all__ = ["OidcRefused", "Provider", "authorize_url", "discover", "fetch_arrival"]

# Asymmetric ones alone: with a shared secret whoever knows the client's could make tokens, and "none" is no signature.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
LEEWAY = 60
# Discovery may be old for as long; keys are asked for anew as soon as a token names one that is not known.
_REMEMBERED = 300
_LARGEST = 512 * 1024
_GOOGLE = "https://accounts.google.com"
# Where administrators alone choose `preferred_username`, an address there. Elsewhere people may choose it themselves,
# another's address too.
_ADMINISTERED_NAMES = frozenset(
    {"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
)


class OidcRefused(Exception):
    """An answer of a provider that is not valid, or that never came, and why."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What of a provider's discovery document is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str
    token_methods: tuple[str, ...]


# ---------------------------------------------------------------- what the provider says of itself
def discover(issuer: str) -> Provider:
    """The provider of an issuer (OpenID Connect Discovery 1.0); :class:`OidcRefused` where it cannot be read.

    The document must name the very issuer that was asked: else another provider could answer in its place.
    """
    document = _json(f"{issuer.rstrip('/')}/.well-known/openid-configuration", "the discovery document")
    if document.get("issuer") != issuer:
        raise OidcRefused(f"the provider calls itself {str(document.get('issuer'))[:200]!r}, not {issuer!r}")
    addresses = {
        name: document.get(name)
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    }
    for name, address in addresses.items():
        if (address is None and name != "userinfo_endpoint") or not isinstance(address, str | None):
            raise OidcRefused(f"the discovery document lacks {name}")
        if address and not _is_safe(address):
            raise OidcRefused(f"{name} is not an https address")
    methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return Provider(
        issuer=issuer,
        authorization_endpoint=addresses["authorization_endpoint"] or "",
        token_endpoint=addresses["token_endpoint"] or "",
        jwks_uri=addresses["jwks_uri"] or "",
        userinfo_endpoint=addresses["userinfo_endpoint"] or "",
        token_methods=tuple(map(str, methods)),
    )


def _is_safe(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in settings.OUTBOUND_ALLOWED_HOSTS)


def _json(url: str, what: str, *, fresh: bool = False, remembered: bool = True, **headers: str) -> dict[str, Any]:
    key = f"sso:json:{sha256(url.encode()).hexdigest()}"
    if remembered and not fresh and (known := cache.get(key)) is not None:
        return dict(known)
    try:
        answer = fetch("GET", url, max_bytes=_LARGEST, headers={"Accept": "application/json", **headers})
    except (OutboundRefused, HTTPError) as error:
        raise OidcRefused(f"{what} cannot be read: {error}") from error
    found = _parsed(answer, what)
    if remembered:
        cache.set(key, found, _REMEMBERED)
    return found


def _parsed(answer: Response, what: str) -> dict[str, Any]:
    if answer.status_code != 200:
        raise OidcRefused(f"{what}: the provider answered {answer.status_code}{_told_error(answer)}")
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError as error:
        raise OidcRefused(f"{what} is not JSON") from error
    if not isinstance(found, dict):
        raise OidcRefused(f"{what} is not an object")
    return found


def _told_error(answer: Response) -> str:
    """The error of OAuth that a refusal carries, as far as it may be repeated."""
    try:
        told = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return ""
    return f" ({str(told.get('error'))[:80]})" if isinstance(told, dict) and told.get("error") else ""


# ---------------------------------------------------------------- there
def authorize_url(
    connection: Connection, *, state: str, nonce: str, verifier: str, login_hint: str = "", fresh: bool = False
) -> str:
    """Where the browser goes to sign in. ``fresh``: the provider is to ask for a credential even of whom it knows."""
    provider = discover(connection.issuer)
    query = {
        "response_type": "code",
        "client_id": connection.client_id,
        "redirect_uri": our_addresses(connection)["redirect_uri"],
        "scope": connection.scopes,
        "state": state,
        "nonce": nonce,
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    if login_hint:
        query["login_hint"] = login_hint
    if fresh:
        # Either says it; providers know the one or the other. That they did it is seen by `auth_time`.
        query |= {"prompt": "login", "max_age": "0"}
        if connection.issuer == _GOOGLE and connection.needs_auth_time:
            # Google tells it only who asks in these words, and has "session age claims" switched on there.
            query["claims"] = '{"id_token":{"auth_time":{"essential":true}}}'
    joint = "&" if urlsplit(provider.authorization_endpoint).query else "?"
    return f"{provider.authorization_endpoint}{joint}{urlencode(query)}"


# ---------------------------------------------------------------- and back
def fetch_arrival(connection: Connection, *, code: str, nonce: str, verifier: str) -> Arrival:
    """Trade the code for an ID token, check it, and say who arrived; :class:`OidcRefused` for anything not in order."""
    provider = discover(connection.issuer)
    tokens = _trade(connection, provider, code, verifier)
    raw, access = tokens.get("id_token"), tokens.get("access_token")
    if not isinstance(raw, str) or len(raw) > _LARGEST:
        raise OidcRefused("the provider gave no ID token")
    claims = _checked(connection, provider, raw, nonce=nonce, access_token=access if isinstance(access, str) else "")
    more = _userinfo(connection, provider, claims, access) if isinstance(access, str) else {}
    return _arrival(connection, {**more, **claims})


def _trade(connection: Connection, provider: Provider, code: str, verifier: str) -> dict[str, Any]:
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": our_addresses(connection)["redirect_uri"],
        "code_verifier": verifier,
    }
    headers = {"Accept": "application/json"}
    secret = connection.client_secret or ""
    if "client_secret_basic" in provider.token_methods or "client_secret_post" not in provider.token_methods:
        # RFC 6749, 2.3.1: both are form-encoded before they are joined.
        pair = f"{quote(connection.client_id, safe='')}:{quote(secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        body |= {"client_id": connection.client_id, "client_secret": secret}
    try:
        answer = fetch("POST", provider.token_endpoint, max_bytes=_LARGEST, data=body, headers=headers)
    except (OutboundRefused, HTTPError) as error:
        raise OidcRefused(f"the token endpoint cannot be reached: {error}") from error
    return _parsed(answer, "the token endpoint")


def _checked(connection: Connection, provider: Provider, raw: str, *, nonce: str, access_token: str) -> dict[str, Any]:
    """The claims of an ID token that is wholly in order (OpenID Connect Core 1.0, 3.1.3.7)."""
    header, payload = _verified(provider, raw)
    claims = CodeIDToken(
        payload,
        header,
        options={
            "iss": {"essential": True, "value": provider.issuer},
            "aud": {"essential": True, "value": connection.client_id},
            "sub": {"essential": True},
        },
        params={"nonce": nonce, "client_id": connection.client_id, "access_token": access_token},
    )
    try:
        claims.validate(now=int(now().timestamp()), leeway=LEEWAY)
    except (JoseError, ValueError, TypeError) as error:
        raise OidcRefused(f"the ID token is not valid: {error}") from error
    audience = payload["aud"] if isinstance(payload["aud"], list) else [payload["aud"]]
    if len(audience) > 1 and payload.get("azp") != connection.client_id:
        raise OidcRefused("the ID token is of several audiences and does not name us as its party")
    if not isinstance(payload.get("exp"), int | float) or not isinstance(payload.get("sub"), str):
        raise OidcRefused("the ID token has no end or no subject")
    return payload


def _verified(provider: Provider, raw: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and payload of a token whose signature is the provider's.

    A key that is not among those remembered is asked for once more: the provider may have changed its keys.
    """
    error: Exception | None = None
    for fresh in (False, True):
        keys = _json(provider.jwks_uri, "the key set", fresh=fresh)
        try:
            found = jws.deserialize_compact(raw, _signing_keys(keys), algorithms=list(ALGORITHMS))
            payload = orjson.loads(found.payload)
        except (JoseError, ValueError, TypeError, KeyError) as caught:
            error = caught
            continue
        if not isinstance(payload, dict):
            raise OidcRefused("the ID token holds no claims")
        return dict(found.headers()), payload
    raise OidcRefused(f"the signature of the ID token is not the provider's: {error}") from error


def _signing_keys(document: dict[str, Any]) -> KeySet:
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise OidcRefused("the key set has no keys")
    usable = [
        key
        for key in keys
        if isinstance(key, dict) and key.get("kty") in {"RSA", "EC", "OKP"} and key.get("use", "sig") == "sig"
    ]
    return KeySet.import_key_set({"keys": [_public(key) for key in usable]})


def _public(key: dict[str, Any]) -> dict[str, Any]:
    """What of a key matters: some providers add members that are not as the standard has them."""
    return {name: key[name] for name in ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y") if name in key}


def _userinfo(connection: Connection, provider: Provider, claims: dict[str, Any], access: str) -> dict[str, Any]:
    """What the ID token lacks, from the userinfo endpoint; only where something is wanted that it lacks."""
    lacking = "email" not in claims or (connection.groups_claim and connection.groups_claim not in claims)
    if not lacking or not provider.userinfo_endpoint:
        return {}
    told = _json(provider.userinfo_endpoint, "userinfo", remembered=False, Authorization=f"Bearer {access}")
    if told.get("sub") != claims["sub"]:
        raise OidcRefused("userinfo is about somebody else than the ID token")
    return told


def _arrival(connection: Connection, claims: dict[str, Any]) -> Arrival:
    if claims.get("email_verified") in (False, "false"):
        raise OidcRefused("the provider says that the address is not verified")
    _check_google(connection, claims)
    email = claims.get("email") or ""
    if not email and urlsplit(connection.issuer).hostname in _ADMINISTERED_NAMES:
        email = claims.get("preferred_username") or ""
    return Arrival(
        subject=claims["sub"],
        email=email if isinstance(email, str) and "@" in email else "",
        name=claims["name"] if isinstance(claims.get("name"), str) else "",
        groups=_groups(claims.get(connection.groups_claim)) if connection.groups_claim else None,
        claims={name: value for name, value in claims.items() if name not in {"nonce", "at_hash"}},
        authenticated_at=_shown_at(claims.get("auth_time")),
    )


def _shown_at(auth_time: Any) -> datetime | None:
    if isinstance(auth_time, bool) or not isinstance(auth_time, int | float):
        return None
    try:
        return datetime.fromtimestamp(auth_time, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise OidcRefused("auth_time is no time") from error


def _check_google(connection: Connection, claims: dict[str, Any]) -> None:
    """Google's issuer is everybody's: only ``hd`` tells a Workspace account from a private one with its address."""
    if connection.issuer == _GOOGLE:
        _, _, domain = str(claims.get("email", "")).lower().rpartition("@")
        if not domain or str(claims.get("hd", "")).lower() != domain:
            raise OidcRefused("the account is none of the Workspace of its address (hd)")


def _groups(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence):
        return tuple(one for one in value if isinstance(one, str))
    raise OidcRefused("the groups are not a list")
