"""Who may listen to an organisation's events: a person by session or access token, or a key that may read.

The same questions as an API request is asked (:class:`apps.core.api.ApiView`), of a socket's handshake. They are asked
again while the socket lives, and nothing but the handshake is remembered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, QueryDict
from rest_framework.request import Request

from apps.accounts import selectors as accounts
from apps.core import ports
from apps.core.authentication import user_actor
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated, NotFound, PermissionDenied
from apps.core.middleware import context_of
from apps.core.sockets import headers_of, is_same_origin
from apps.identity.authentication import JWTAuthentication
from apps.identity.book import facts_of, sign_in_of_session
from apps.projects.authentication import key_actor, key_of_request
from apps.usage.granted import usage_given

__all__ = ["CAPABILITY", "Listener", "listener_of", "query_of"]

CAPABILITY, SCOPE = "usage.read", "read"


@dataclass(frozen=True, slots=True)
class Listener:
    """Who listens to which organisation; ``given`` are the projects of which they may hear, None for all."""

    org_id: UUID
    identity: str
    given: frozenset[str] | None = None


def listener_of(scope: Mapping[str, Any], *, org_id: UUID | None = None) -> Listener:
    """Who a handshake is of, as things stand now; ``org_id`` is the organisation that was settled on before.

    Raises :class:`NotAuthenticated` for a session, token or key that does not work, :class:`NotFound` for an
    organisation that is not the caller's, :class:`PermissionDenied` for a role, scope or suspension that forbids it.
    """
    actor = _actor_of(scope)
    org_id = _checked(actor, org_id) if org_id else _org_of(actor, scope)
    if refusal := ports.permissions.get().entry_refusal(actor, org_id):
        raise refusal
    given = None
    if actor.kind == "key":
        if SCOPE not in actor.scopes:
            raise PermissionDenied(f"This key lacks the scope {SCOPE!r}", code="scope_missing")
    elif not ports.permissions.get().check(actor, CAPABILITY, org_id):
        given = usage_given(org_id, actor.id)
        if not given:
            raise PermissionDenied(f"Your role lacks {CAPABILITY!r} here", extra={"capability": CAPABILITY})
    return Listener(org_id, str(actor.id), given)


def query_of(scope: Mapping[str, Any]) -> QueryDict:
    """The parameters of the handshake's address."""
    return QueryDict(scope["query_string"])


def _actor_of(scope: Mapping[str, Any]) -> Actor:
    request = HttpRequest()
    request.META = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers_of(scope).items()}
    request.META["REMOTE_ADDR"] = (scope.get("client") or ("",))[0] or ""
    context_of(request)  # finds the address behind our own front
    if "HTTP_AUTHORIZATION" in request.META or "HTTP_X_API_KEY" in request.META:
        key = key_of_request(request)
        if key is not None:
            return key_actor(key, request)
        found = JWTAuthentication().authenticate(Request(request))
        if found is not None:
            return found[1]
    elif is_same_origin(scope):
        session = scope["session"].session_key
        if session:
            # Read anew each time: a session may have ended, in the store or in the book of sign-ins.
            request.session = import_module(settings.SESSION_ENGINE).SessionStore(session)
            sign_in = sign_in_of_session(request.session, used=False)
            if sign_in is not None and get_user(request).is_authenticated:
                request.sign_in = facts_of(sign_in)  # type: ignore[attr-defined]
                return user_actor(sign_in.user, request)
    raise NotAuthenticated("Sign in, or send an API key or an access token")


def _org_of(actor: Actor, scope: Mapping[str, Any]) -> UUID:
    """The organisation that ``?org=`` (its id or slug) or ``X-Org-Id`` names, else the key's or the default one."""
    named = parse_qs(scope["query_string"].decode("latin-1")).get("org", [""])[0] or headers_of(scope).get("x-org-id")
    if actor.kind == "key":
        return _own_org(actor, named)
    assert actor.id is not None
    if not named:
        default = ports.permissions.get().default_org_id(actor)
        if default is None:
            raise NotFound("You belong to no organisation yet", code="no_organization")
        return default
    try:
        return _checked(actor, UUID(named))
    except ValueError:
        mine = accounts.org_for_web(slug=named, user_id=actor.id)
        if mine is None:
            raise NotFound() from None
        return mine[0].id


def _checked(actor: Actor, org_id: UUID) -> UUID:
    """The organisation, if it is the actor's."""
    if actor.org_id != org_id if actor.kind == "key" else not ports.permissions.get().is_member(actor, org_id):
        raise NotFound()
    return org_id


def _own_org(actor: Actor, named: str | None) -> UUID:
    own = accounts.org_find(actor.org_id) if actor.org_id else None
    if own is None or (named and named not in {str(own.id), own.slug}):
        raise NotFound()
    return own.id
