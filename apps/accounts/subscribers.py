"""What members are told by mail: the end of their organisation and its return, and what became of an export."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors
from apps.accounts.models import Membership, Organization, Role
from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.notify.services import send_email

__all__ = ["tell_of_audit_export", "tell_of_deletion", "tell_of_return"]


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


@transaction.atomic
def tell_of_audit_export(envelope: Envelope) -> None:
    """``audit.export_ready`` and ``audit.export_failed``: to who asked, as long as they may read the log."""
    org_id, asked_by = envelope.org_id, envelope.data["requested_by_id"]
    org = selectors.org_find(org_id) if org_id and asked_by else None
    if org is None or "audit.read" not in selectors.capabilities_for(org_id=org.id, user_id=UUID(asked_by)):
        return
    person = selectors.member_info(org_id=org.id, user_id=UUID(asked_by))
    if not person.is_active:
        return
    expires_at = envelope.data.get("expires_at")
    context = {
        **envelope.data, "org": org.name, "slug": org.slug, "name": person.name, "ready": expires_at is not None,
        "expires_at": datetime.fromisoformat(expires_at) if expires_at else None,
    }  # fmt: skip
    send_email(to=person.email, template="audit_export", context=context, org_id=org.id)


subscribe(name="accounts.deletion_mails", types=["org.deleted"], handler=tell_of_deletion)
subscribe(name="accounts.return_mails", types=["org.restored"], handler=tell_of_return)
subscribe(
    name="accounts.audit_export_mails", types=["audit.export_ready", "audit.export_failed"],
    handler=tell_of_audit_export,
)  # fmt: skip
