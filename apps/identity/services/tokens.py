"""Token pairs of sign-ins over the API: refresh tokens that are used once, and the keys that sign access tokens."""

from dataclasses import asdict
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.audit.services import record
from apps.core.clock import now
from apps.core.crypto import new_token, token_digest, token_digests
from apps.core.database import later
from apps.core.errors import NotAuthenticated
from apps.core.ids import uuid7
from apps.core.ratelimit import Limit, enforce
from apps.identity import jwt
from apps.identity.contracts import TokenPair
from apps.identity.models import RefreshToken, SignIn, SigningKey
from apps.identity.services.ending import end_rows

__all__ = ["as_body", "issue_pair", "refresh", "rotate_signing_key"]

_REFRESH_PURPOSE = "refresh-token"
_INSERT = "INSERT INTO identity_refreshtoken (id, family_id, digest, created_at) VALUES (%s, %s, %s, %s)"
_KEY_OVERLAP = timedelta(hours=1)
# An access token lives five minutes: a client that refreshes more often than this is broken, or somebody else's.
_PER_SIGN_IN = Limit("refresh", 60, 300)


def issue_pair(sign_in: SignIn) -> TokenPair:
    """A new access token and the refresh token that follows the last one."""
    token = new_token()
    later(_INSERT, [uuid7(), sign_in.pk, token_digest(token, _REFRESH_PURPOSE), now()])
    return TokenPair(
        access_token=jwt.issue_access_token(user_id=sign_in.user_id, session_id=sign_in.pk),
        refresh_token=token,
        expires_in=int(settings.JWT_ACCESS_LIFETIME.total_seconds()),
    )


def refresh(*, refresh_token: str) -> TokenPair:
    """Trade a refresh token for a new pair. A token that was used before ends its whole sign-in.

    Of two requests with the same token one wins; the other counts as reuse, because a thief cannot be told from a
    client that lost its answer. A sign-in lives at most ``API_SIGN_IN_LONGEST``, however often it is refreshed.
    """
    refused = NotAuthenticated("This refresh token is not valid", code="invalid_refresh_token")
    with transaction.atomic():
        token = (
            RefreshToken.objects.select_for_update(of=("self",))
            .select_related("family__user")
            .filter(digest__in=token_digests(refresh_token, _REFRESH_PURPOSE))
            .first()
        )
        if token is None:
            raise refused
        enforce(_PER_SIGN_IN, str(token.family_id), detail="This sign-in is refreshed too often")
        sign_in = SignIn.objects.select_for_update().get(pk=token.family_id)
        moment = now()
        if token.used_at is None and sign_in.is_live(moment) and token.family.user.is_active:
            RefreshToken.objects.filter(pk=token.pk).update(used_at=moment)
            last = sign_in.created_at + settings.API_SIGN_IN_LONGEST
            SignIn.objects.filter(pk=sign_in.pk).update(
                last_used_at=moment, expires_at=min(moment + settings.JWT_REFRESH_LIFETIME, last)
            )
            return issue_pair(sign_in)
        if token.used_at is not None and sign_in.ended_at is None:
            end_rows([sign_in], user=token.family.user, reason="refresh_token_reused")
    raise refused


@transaction.atomic
def rotate_signing_key() -> UUID:
    """Make a new signing key and retire those whose successor is an hour old; returns the new key's id.

    The key that signed until now goes on verifying: its tokens live for minutes, and other processes may sign with it
    for some seconds more.
    """
    key = jwt.make_key()
    record(action="signing_key.created", org_id=None, target_type="signing_key", target_id=key.pk)
    live = list(SigningKey.objects.filter(retired_at__isnull=True).order_by("-created_at", "-id"))
    for successor, old in pairwise(live):
        if successor.created_at < now() - _KEY_OVERLAP:
            SigningKey.objects.filter(pk=old.pk).update(retired_at=now())
            record(action="signing_key.retired", org_id=None, target_type="signing_key", target_id=old.pk)
    transaction.on_commit(jwt.forget_keys)
    return key.pk


def as_body(pair: TokenPair) -> dict[str, Any]:
    """The body that login and refresh answer with."""
    return asdict(pair)
