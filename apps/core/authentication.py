"""Who calls: what authenticators of the apps have in common.

An authenticator returns ``(user, actor)``: ``request.user`` is the Django user (or an anonymous one for keys) and
``request.auth`` the :class:`~apps.core.contracts.Actor`.
"""

from dataclasses import replace
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import authentication
from rest_framework.request import Request

from apps.core.contracts import ANONYMOUS, Actor

__all__ = ["SessionAuthentication", "actor_of", "client_ip", "user_actor"]

WWW_AUTHENTICATE = 'Bearer realm="mindweave"'


def client_ip(request: HttpRequest) -> str | None:
    """The caller's address, as :class:`~apps.core.middleware.RequestContextMiddleware` found it."""
    return getattr(request, "client_ip", None) or request.META.get("REMOTE_ADDR") or None


def user_actor(user: Any, request: HttpRequest) -> Actor:
    """The actor of a signed-in person, and what the book of sign-ins says of the one that their request came by."""
    sign_in = getattr(request, "sign_in", None)
    return Actor(
        kind="user",
        id=user.pk,
        label=user.email,
        ip=client_ip(request),
        user_agent=request.headers.get("User-Agent", "")[:300],
        session_id=sign_in.id if sign_in else None,
        authenticated_at=sign_in.authenticated_at if sign_in else None,
        methods=sign_in.methods if sign_in else frozenset(),
    )


class SessionAuthentication(authentication.SessionAuthentication):
    """The cookie session of the web UI, with CSRF checked."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        found = super().authenticate(request)
        return None if found is None else (found[0], user_actor(found[0], request._request))

    def authenticate_header(self, request: Request) -> str:
        return WWW_AUTHENTICATE


def actor_of(request: Request) -> Actor:
    """The actor of an API request; anonymous where no authenticator knew the caller."""
    if isinstance(request.auth, Actor):
        return request.auth
    return replace(
        ANONYMOUS, ip=client_ip(request._request), user_agent=request._request.headers.get("User-Agent", "")[:300]
    )


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "apps.core.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}
