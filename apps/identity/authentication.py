"""Access tokens as credentials of a request."""

import time
from typing import Any
from uuid import UUID

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.authentication import WWW_AUTHENTICATE, user_actor
from apps.core.clock import now
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated
from apps.identity import jwt
from apps.identity.models import TokenFamily

__all__ = ["JWTAuthentication", "forget_sessions"]

# A sign-in that ends is dead everywhere once this has passed.
_CACHE_SECONDS = 0.8
_CACHE_SIZE = 20_000
_live: dict[UUID, tuple[float, TokenFamily | None]] = {}


def forget_sessions() -> None:
    """Ask the database again on the next request of each sign-in, so that an end made here is seen here at once."""
    _live.clear()


def _sign_in_of(claims: jwt.AccessClaims) -> TokenFamily | None:
    """A sign-in that still lives, with its person."""
    moment = time.monotonic()
    found = _live.get(claims.session_id)
    if found is None or found[0] <= moment:
        family = TokenFamily.objects.select_related("user").filter(pk=claims.session_id).first()
        alive = family is not None and family.is_live(now()) and family.user.is_active
        if len(_live) >= _CACHE_SIZE:
            _live.clear()
        found = _live[claims.session_id] = (moment + _CACHE_SECONDS, family if alive else None)
    sign_in = found[1]
    return sign_in if sign_in is not None and sign_in.user_id == claims.user_id else None


class JWTAuthentication(BaseAuthentication):
    """``Authorization: Bearer <access token>``."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        try:
            claims = jwt.verify_access_token(token.strip())
        except jwt.InvalidToken as error:
            raise NotAuthenticated("This access token is not valid or has expired", code="invalid_token") from error
        sign_in = _sign_in_of(claims)
        if sign_in is None:
            raise NotAuthenticated("This sign-in has ended", code="session_ended")
        user = sign_in.user
        actor = user_actor(user, request._request)
        return user, Actor(
            kind=actor.kind,
            id=actor.id,
            label=actor.label,
            ip=actor.ip,
            user_agent=actor.user_agent,
            session_id=claims.session_id,
            authenticated_at=sign_in.created_at,
        )

    def authenticate_header(self, request: Request) -> str:
        return WWW_AUTHENTICATE


class JWTScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "apps.identity.authentication.JWTAuthentication"
    name = "accessToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
