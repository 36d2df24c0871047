"""Members are told by mail of the end of their organisation, and of its return."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts.models import Membership, Organization, Role
from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.notify.services import send_email

__all__ = ["tell_of_deletion", "tell_of_return"]


def tell_of_deletion(envelope: Envelope) -> None:
    """``org.deleted``: to every member with an open account, until when an owner can restore it."""
    _tell(envelope, "org_deleted")


def tell_of_return(envelope: Envelope) -> None:
    """``org.restored``: to all of them again."""
    _tell(envelope, "org_restored")


@transaction.atomic
def _tell(envelope: Envelope, template: str) -> None:
    org = Organization.objects.filter(pk=envelope.org_id).first() if envelope.org_id else None
    # Already restored, or already gone: the news is none any more.
    if org is None or (org.erase_at is None) == (template == "org_deleted"):
        return
    rows = Membership.objects.select_related("user").filter(user__is_active=True).order_by("pk")
    for row in rows.iterator(chunk_size=500):
        send_email(to=row.user.email, template=template, context=_context(org, row), org_id=UUID(str(org.pk)))


def _context(org: Organization, row: Membership) -> dict[str, Any]:
    erase_at: datetime | None = org.erase_at
    return {"org": org.name, "slug": org.slug, "erase_at": erase_at, "owner": row.role == Role.OWNER}


subscribe(name="accounts.deletion_mails", types=["org.deleted"], handler=tell_of_deletion)
subscribe(name="accounts.return_mails", types=["org.restored"], handler=tell_of_return)
