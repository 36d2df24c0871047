"""API keys as credentials of a request: ``Authorization: Bearer mw_…`` or ``X-API-Key: mw_…``."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.core.authentication import WWW_AUTHENTICATE, client_ip
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated
from apps.projects import selectors
from apps.projects.contracts import KeyContext
from apps.projects.tokens import PREFIX

__all__ = ["ApiKeyAuthentication", "key_actor", "key_of_request", "token_of_request"]


def token_of_request(request: HttpRequest) -> str | None:
    """The MindWeave key that a request carries, or None where it carries none of ours."""
    header = request.headers.get("Authorization", "")
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value.strip().startswith(PREFIX):
        return value.strip()
    return request.headers.get("X-API-Key") or None


def key_of_request(request: HttpRequest) -> KeyContext | None:
    """The authenticated key of a request, None without one; :class:`NotAuthenticated` for one that does not work.

    The one entrance of keys: whatever takes a key takes it through here. :class:`PermissionDenied` where the key may
    not be used from the caller's address.
    """
    token = token_of_request(request)
    if token is None:
        return None
    key = selectors.key_authenticate(token, ip=client_ip(request), user_agent=request.META.get("HTTP_USER_AGENT") or "")
    if key is None:
        raise NotAuthenticated("This API key is unknown, expired or revoked", code="invalid_api_key")
    return key


def key_actor(key: KeyContext, request: HttpRequest) -> Actor:
    """The actor of a key."""
    return Actor(
        kind="key",
        id=key.key_id,
        label=f"{key.name} ({key.prefix}…)",
        org_id=key.org_id,
        scopes=key.scopes,
        ip=client_ip(request),
        user_agent=request.headers.get("User-Agent", "")[:300],
    )


class ApiKeyAuthentication(BaseAuthentication):
    """Authenticates by key; leaves every other credential to the authenticators after it."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        key = key_of_request(request._request)
        if key is None:
            return None
        request._request.api_key = key  # type: ignore[attr-defined]
        return AnonymousUser(), key_actor(key, request._request)

    def authenticate_header(self, request: Request) -> str:
        return WWW_AUTHENTICATE


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names it."""

    target_class = "apps.projects.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "Or as a bearer token."}
