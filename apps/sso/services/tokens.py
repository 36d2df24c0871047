"""Tokens of provisioning."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from apps.core.clock import now
from apps.core.context import current
from apps.core.crypto import new_token, token_digest, token_digests
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import org_scope, system_scope
from apps.sso.contracts import ScimTokenInfo
from apps.sso.models import ScimToken
from apps.sso.selectors import scim_token_info
from apps.sso.telling import tell

__all__ = ["authenticate_scim_token", "create_scim_token", "revoke_scim_token"]

PREFIX = "mwscim_"
_PURPOSE = "scim-token"
_SHOWN = 6
_MOST = 20
# How exact "last used" is: a token that is in use all day is not written to at every request.
_COARSE = timedelta(minutes=1)


@transaction.atomic
def create_scim_token(*, org_id: UUID, name: str, expires_at: datetime | None = None) -> tuple[ScimTokenInfo, str]:
    """Make a token; returns it and its secret, which is never to be had again."""
    name = name.strip()
    if not name:
        raise ValidationFailed("The token is not valid", errors=[{"pointer": "/name", "detail": "Name it"}])
    if expires_at is not None and expires_at <= now():
        detail = "This is in the past"
        raise ValidationFailed("The token is not valid", errors=[{"pointer": "/expires_at", "detail": detail}])
    with org_scope(org_id):
        if ScimToken.objects.filter(revoked_at=None).count() >= _MOST:
            raise Conflict(f"An organisation has at most {_MOST} tokens that are not revoked", code="too_many_tokens")
        secret = PREFIX + new_token()
        actor = current().actor
        token = ScimToken.objects.create(
            org_id=org_id, name=name, prefix=secret[: len(PREFIX) + _SHOWN], digest=token_digest(secret, _PURPOSE),
            created_by_id=actor.id if actor.kind in {"user", "staff"} else None, expires_at=expires_at,
        )  # fmt: skip
        _tell(token, "scim.token_created", after={"name": name, "expires_at": expires_at})
        return scim_token_info(token), secret


@transaction.atomic
def revoke_scim_token(*, org_id: UUID, token_id: UUID) -> None:
    """Revoke a token: the next request with it is refused. Repeating it is harmless."""
    with org_scope(org_id):
        token: ScimToken | None = ScimToken.objects.select_for_update().filter(pk=token_id).first()
        if token is None:
            raise NotFound()
        if token.revoked_at is None:
            token.revoked_at = now()
            token.save(update_fields=["revoked_at", "updated_at"])
            _tell(token, "scim.token_revoked", before={"revoked": False}, after={"revoked": True})


def authenticate_scim_token(*, secret: str) -> ScimToken | None:
    """The token of a secret, if it works; notes its use to the minute."""
    if not secret.startswith(PREFIX) or len(secret) > 200:
        return None
    moment = now()
    with system_scope("a token says which organisation it is of"):
        token: ScimToken | None = ScimToken.objects.filter(
            digest__in=token_digests(secret, _PURPOSE), revoked_at=None
        ).first()
        if token is None or (token.expires_at is not None and token.expires_at <= moment):
            return None
        digest = token_digest(secret, _PURPOSE)
        if token.last_used_at is None or token.last_used_at < moment - _COARSE or bytes(token.digest) != digest:
            # Under the current pepper from its first use on, so that an older one can go.
            ScimToken.objects.filter(pk=token.pk).update(last_used_at=moment, digest=digest)
    return token


def _tell(token: ScimToken, action: str, **details: object) -> None:
    tell(
        action, org_id=token.org_id, target="scim_token", target_id=token.pk, label=token.name,
        data={"token_id": str(token.pk), "name": token.name}, **details,
    )  # fmt: skip
