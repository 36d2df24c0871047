"""Tokens of provisioning as the one credential of ``/scim/v2/``."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.authentication import client_ip
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated
from apps.sso.services import authenticate_scim_token

__all__ = ["ScimAuthentication"]

CHALLENGE = 'Bearer realm="mindweave-scim"'


class ScimAuthentication(BaseAuthentication):
    """Authenticates by token; what a provider does is done in the name of the token."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        token = authenticate_scim_token(secret=secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise NotAuthenticated(
                "This token is unknown, expired or revoked", code="invalid_scim_token",
                headers={"WWW-Authenticate": CHALLENGE},
            )  # fmt: skip
        actor = Actor(
            kind="system",
            id=token.pk,
            label=f"Provisioning: {token.name}",
            org_id=token.org_id,
            ip=client_ip(request._request),
            user_agent=request.headers.get("User-Agent", "")[:300],
        )
        return AnonymousUser(), actor

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class ScimScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "apps.sso.scim.authentication.ScimAuthentication"
    name = "scimToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token of provisioning of one organisation."}
