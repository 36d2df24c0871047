"""Browsers that somebody signed in with before, whose wrong passwords are counted apart from everybody else's.

A stranger's guesses, from wherever they come, then keep nobody out of their own browser; and a browser's cookie is good
for its person alone, and for few guesses (OWASP, *Slow Down Online Guessing Attacks with Device Cookies*).
"""

import secrets
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.crypto import salted_hmac

from apps.identity.models import normalise_email

__all__ = ["cookie_name", "device_of", "is_browser", "keep", "know", "of_sign_in"]

_SALT: Final = "identity.known-device"
_KEPT: Final = timedelta(days=90)


def cookie_name() -> str:
    """Over HTTPS a name that browsers take from this host alone."""
    return "__Host-mw_device" if settings.SESSION_COOKIE_SECURE else "mw_device"


def is_browser(request: HttpRequest) -> bool:
    """Whether a page of ours asks, or somebody who typed the address: what keeps cookies and says where it comes from.

    A program that signs in over the API has nowhere to keep a cookie, and a page of somebody else gets none.
    """
    return request.headers.get("Sec-Fetch-Site") in {"same-origin", "none"} or cookie_name() in request.COOKIES


def of_sign_in(session_id: UUID | None) -> str | None:
    """The name of whatever a person is signed in with: the wrong passwords of a sign-in are counted for it alone."""
    return f"sign-in:{session_id}" if session_id is not None else None


def know(request: HttpRequest, email: str) -> None:
    """The browser of this request is its person's from now on: the answer will carry the cookie.

    For whoever proved to be them here, by a password, a provider, a passkey or a link that only they could read.
    """
    request.known_device_of = email  # type: ignore[attr-defined]


def keep(request: HttpRequest, response: HttpResponseBase) -> None:
    """Set the cookie of somebody who just proved who they are; it says nothing of them to whoever reads it."""
    email = getattr(request, "known_device_of", None)
    if email is not None:
        value = signing.dumps([_digest(email), secrets.token_urlsafe(12)], salt=_SALT)
        response.set_cookie(
            cookie_name(), value, max_age=_KEPT, path="/", httponly=True, samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )  # fmt: skip


def device_of(request: HttpRequest, email: str) -> str | None:
    """The name of this browser, where the person of ``email`` signed in with it within 90 days."""
    try:
        digest, name = signing.loads(request.COOKIES.get(cookie_name(), ""), salt=_SALT, max_age=_KEPT)
    except signing.BadSignature:
        return None
    return str(name) if secrets.compare_digest(str(digest), _digest(email)) else None


def _digest(email: str) -> str:
    return salted_hmac(_SALT, normalise_email(email)).hexdigest()[:32]
