"""What single sign-on knows for an access review: the tokens by which providers provision people."""

from collections.abc import Iterator
from uuid import UUID

from django.db.models import Q

from apps.core.access import BATCH, AccessEntry
from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.sso.models import ScimToken

__all__ = ["token_entries"]


def token_entries(org_id: UUID, after: UUID | None) -> Iterator[AccessEntry]:
    """Tokens that work; each makes and removes members and gives them the roles that groups stand for."""
    while True:
        moment = now()
        with org_scope(org_id):
            rows = ScimToken.objects.filter(
                Q(revoked_at=None) | Q(revoked_at__gt=moment), Q(expires_at=None) | Q(expires_at__gt=moment)
            ).order_by("id")
            batch = list((rows.filter(id__gt=after) if after else rows)[:BATCH])
        for token in batch:
            yield AccessEntry(
                id=token.pk,
                name=f"{token.name} ({token.prefix}…)",
                note="provisioning of people and groups",
                may=("scim",),
                words=("Make, change and remove members and groups",),
                administers=True,
                since=token.created_at,
                last_used_at=token.last_used_at,
                expires_at=token.expires_at,
            )
        if len(batch) < BATCH:
            return
        after = batch[-1].pk
