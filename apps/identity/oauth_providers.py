"""Google, GitHub and Microsoft as sign-in providers: where to send a browser, and who came back.

Google and Microsoft are OpenID providers: their ID token is verified here (OpenID Connect Core, 3.1.3.7). GitHub has
none: its API is asked who the token belongs to. Every call goes through the checked client.
"""

import base64
import hashlib
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import jwt
import structlog
from django.conf import settings

from apps.core.clock import now
from apps.core.crypto import constant_time_equal
from apps.core.errors import MindWeaveError, NotFound
from apps.core.http import HTTPError, OutboundRefused, fetch

__all__ = ["NAMES", "OAuthFailed", "Profile", "authorize_url", "configured", "forget_keys", "identify", "redirect_uri"]

log = structlog.get_logger(__name__)

NAMES = {"google": "Google", "github": "GitHub", "microsoft": "Microsoft"}
# Asymmetric ones only: neither "none" nor a secret that could be guessed to be the public key (RFC 8725, section 3.1).
_ALGORITHMS = ["RS256", "ES256"]
_LEEWAY = 60
_KEYS_SECONDS, _UNKNOWN_KEY_SECONDS = 3600.0, 30.0
# Microsoft's tenant of personal accounts, whose addresses it verifies itself.
_MICROSOFT_PERSONAL = "9188040d-6c67-4c5b-b112-36a304b66dad"
_SCOPES = {
    "google": "openid email profile",
    "microsoft": "openid email profile",
    "github": "read:user user:email",
}
_keys: dict[str, tuple[float, dict[str, Any]]] = {}


class OAuthFailed(MindWeaveError):
    """The provider's answer is not good, or did not come; ``detail`` is for the person."""

    status, code, title = 400, "oauth_failed", "Signing in with the provider did not work"


@dataclass(frozen=True, slots=True)
class Profile:
    """Who came back: ``subject`` is the provider's own id, which never changes; ``email`` only where it is verified."""

    provider: str
    subject: str
    email: str
    name: str


def configured() -> list[tuple[str, str]]:
    """The providers that are offered, as (key, name)."""
    return [(key, NAMES[key]) for key, values in settings.OAUTH_PROVIDERS.items() if _is_set(values)]


def _is_set(values: dict[str, str]) -> bool:
    return bool(values["client_id"] and values["client_secret"])


def _config(provider: str) -> dict[str, str]:
    values: dict[str, str] | None = settings.OAUTH_PROVIDERS.get(provider)
    if values is None or not _is_set(values):
        raise NotFound("This provider is not offered here")
    return values


def redirect_uri() -> str:
    """Our one callback; it is registered with every provider."""
    return f"{settings.PUBLIC_URL}/auth/oauth/callback"


def authorize_url(provider: str, *, state: str, nonce: str, verifier: str, again: bool = False) -> str:
    """Where the browser goes; ``again`` asks the provider to have the person sign in anew. NotFound if not offered."""
    values = _config(provider)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": values["client_id"],
        "redirect_uri": redirect_uri(),
        "scope": _SCOPES[provider],
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if provider != "github":
        query |= {"nonce": nonce, "prompt": "login" if again else "select_account"}
    elif again:
        query["prompt"] = "select_account"
    return f"{values['authorize_url']}?{urlencode(query)}"


def identify(provider: str, *, code: str, verifier: str, nonce: str) -> Profile:
    """Trade the code for who it stands for; :class:`OAuthFailed` for whatever is not exactly right."""
    values = _config(provider)
    try:
        tokens = _exchange(values, code, verifier)
        if provider == "github":
            return _github(values, str(tokens.get("access_token", "")))
        return _openid(provider, values, _claims(values, str(tokens.get("id_token", "")), nonce))
    except (HTTPError, OutboundRefused) as error:
        log.warning("oauth.unreachable", provider=provider, reason=str(error))
        raise OAuthFailed(f"{NAMES[provider]} did not answer; try again in a moment") from error
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("oauth.refused", provider=provider, reason=str(error))
        raise OAuthFailed(f"{NAMES[provider]}'s answer is not valid; start again") from error


def _exchange(values: dict[str, str], code: str, verifier: str) -> dict[str, Any]:
    answer = fetch(
        "POST",
        values["token_url"],
        data={
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri(),
            "client_id": values["client_id"],
            "client_secret": values["client_secret"],
            "code_verifier": verifier,
        },
        headers={"Accept": "application/json"},
    )
    tokens: dict[str, Any] = answer.json()
    # GitHub says with 200 that it refuses a code.
    if answer.status_code != 200 or "error" in tokens:
        raise ValueError(f"the code was refused: {tokens.get('error', answer.status_code)}")
    return tokens


# ---------------------------------------------------------------- OpenID
def _claims(values: dict[str, str], token: str, nonce: str) -> dict[str, Any]:
    """The claims of a valid ID token that was made for this client and this sign-in."""
    header = jwt.get_unverified_header(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        _key(values["jwks_url"], str(header["kid"])),
        algorithms=_ALGORITHMS,
        audience=values["client_id"],
        leeway=_LEEWAY,
        options={"require": ["iss", "sub", "aud", "exp", "iat"], "verify_exp": False},
    )
    if claims["exp"] + _LEEWAY < now().timestamp():
        raise ValueError("the ID token has expired")
    if claims["iss"].removeprefix("https://") != values["issuer"].format(**claims).removeprefix("https://"):
        raise ValueError(f"the ID token was issued by {claims['iss']}")
    if not constant_time_equal(str(claims.get("nonce", "")), nonce):
        raise ValueError("the ID token belongs to another sign-in")
    if claims.get("azp", values["client_id"]) != values["client_id"]:
        raise ValueError("the ID token was made for another client")
    return claims


def forget_keys() -> None:
    """Ask providers for their keys again."""
    _keys.clear()


def _key(url: str, kid: str) -> Any:
    """A provider's public key, asked for again where it is not known yet, but not at every forged name."""
    known = _keys.get(url)
    age = time.monotonic() - known[0] if known else _KEYS_SECONDS
    if known is None or age >= _KEYS_SECONDS or (kid not in known[1] and age >= _UNKNOWN_KEY_SECONDS):
        answer = fetch("GET", url)
        found = {key["kid"]: jwt.PyJWK(key).key for key in answer.json()["keys"] if key.get("kid") and _signs(key)}
        known = _keys[url] = (time.monotonic(), found)
    return known[1][kid]


def _signs(key: dict[str, Any]) -> bool:
    return key.get("kty") in {"RSA", "EC"} and key.get("use", "sig") == "sig"


def _openid(provider: str, values: dict[str, str], claims: dict[str, Any]) -> Profile:
    subject, email = str(claims["sub"]), str(claims.get("email") or "")
    if provider == "google":
        verified = claims.get("email_verified") is True
    else:
        # A tenant's administrator may write any address into an account: only what Microsoft says that the tenant owns
        # (the optional claim xms_edov), and its own personal accounts, prove one.
        tenant = str(claims["tid"])
        subject = f"{tenant}/{subject}"
        verified = tenant == _MICROSOFT_PERSONAL or claims.get("xms_edov") in (True, 1, "1", "true")
    return Profile(provider, subject, email if verified else "", str(claims.get("name") or "")[:150])


# ---------------------------------------------------------------- GitHub
def _github(values: dict[str, str], token: str) -> Profile:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json"}
    person = fetch("GET", f"{values['api_url']}/user", headers=headers)
    mails = fetch("GET", f"{values['api_url']}/user/emails", headers=headers)
    if person.status_code != 200 or mails.status_code != 200:
        raise ValueError(f"GitHub's API answered {person.status_code} and {mails.status_code}")
    verified = [each for each in mails.json() if each.get("verified") is True]
    best = next((each for each in verified if each.get("primary")), verified[0] if verified else None)
    body = person.json()
    name = str(body.get("name") or body.get("login") or "")[:150]
    return Profile("github", str(int(body["id"])), str(best["email"]) if best else "", name)
