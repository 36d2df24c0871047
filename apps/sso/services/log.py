"""The log of provisioning: what a provider asked of late, and how it went."""

from datetime import timedelta
from uuid import UUID

from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.sso.models import ScimRequest, ScimToken

__all__ = ["note_scim_request", "prune_scim_requests"]

KEPT = timedelta(days=30)


def note_scim_request(
    *, org_id: UUID, token_id: UUID, method: str, path: str, status: int, subject: str = "", detail: str = ""
) -> None:
    """Keep that a request came; of its body only whom or what it was about. A token of no row is passed over."""
    with org_scope(org_id):
        if ScimToken.objects.filter(pk=token_id).exists():
            ScimRequest.objects.create(
                org_id=org_id, token_id=token_id, method=method[:8], path=path[:300], status=status,
                subject=subject[:300].replace("\0", ""), detail=detail[:500].replace("\0", ""),
            )  # fmt: skip


def prune_scim_requests() -> int:
    """Delete requests older than a month; returns how many."""
    deleted, _ = ScimRequest.objects.filter(at__lt=now() - KEPT).delete()
    return int(deleted)
