"""Access tokens as credentials of a request."""

from dataclasses import replace
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.authentication import WWW_AUTHENTICATE, user_actor
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated
from apps.identity import jwt
from apps.identity.book import forget_sessions, live_sign_in

__all__ = ["JWTAuthentication", "forget_sessions"]


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
        sign_in = live_sign_in(claims.session_id)
        if sign_in is None or sign_in.user_id != claims.user_id:
            raise NotAuthenticated("This sign-in has ended", code="session_ended")
        return sign_in.user, replace(
            user_actor(sign_in.user, request._request),
            session_id=sign_in.pk,
            authenticated_at=sign_in.authenticated_at,
            methods=frozenset(sign_in.methods),
        )

    def authenticate_header(self, request: Request) -> str:
        return WWW_AUTHENTICATE


class JWTScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "apps.identity.authentication.JWTAuthentication"
    name = "accessToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
