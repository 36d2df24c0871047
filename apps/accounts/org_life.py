"""The end of an organisation's life: deleted, restored within its grace, and left to :mod:`apps.accounts.erasure`."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.accounts import selectors
from apps.accounts.contracts import OrgInfo
from apps.accounts.models import Membership, Organization, OrgStatus, Role
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound, PermissionDenied, ValidationFailed
from apps.core.tenancy import org_scope
from apps.events.services import publish

__all__ = ["delete_organization", "extend_grace", "restore_organization"]

MAX_EXTENSION_DAYS = 365


@transaction.atomic
def delete_organization(*, org_id: UUID) -> None:
    """Close an organisation: nobody can enter it and its keys are dead within a second. Its members are told by mail.

    Its data stay for ``ORG_GRACE_DAYS``, in which an owner or staff can restore it; then they are erased.
    """
    org = _any(org_id)
    if org.status == OrgStatus.DELETED:
        raise NotFound()
    moment = now()
    erase_at = moment + timedelta(days=settings.ORG_GRACE_DAYS)
    Organization.objects.filter(pk=org_id).update(
        status=OrgStatus.DELETED, status_before=org.status, deleted_at=moment, erase_at=erase_at, updated_at=moment
    )
    after = {"status": OrgStatus.DELETED.value, "erase_at": erase_at}
    _tell(org, "org.deleted", before={"status": org.status}, after=after)
    publish(type="org.deleted", org_id=org_id, data={"org_id": str(org_id)})


@transaction.atomic
def restore_organization(*, org_id: UUID, by_user_id: UUID | None = None, reason: str = "") -> OrgInfo:
    """Bring a deleted organisation back as it was, a suspension included; its keys work again within a second.

    ``by_user_id`` must be an owner: whoever does not belong to it finds nothing (:class:`NotFound`), other members are
    refused. None is staff, who give a ``reason``. :class:`Conflict` for one that is not deleted (``not_deleted``) and
    once its grace is over (``grace_over``).
    """
    org = _any(org_id)
    if by_user_id is not None:
        _require_owner(org_id, by_user_id)
    if org.status != OrgStatus.DELETED:
        raise Conflict("This organisation is not deleted", code="not_deleted")
    if not org.can_be_restored(now()):
        raise Conflict("Its grace is over: it is being erased", code="grace_over")
    if by_user_id is None:
        reason = _checked_reason(reason)
    status = org.status_before or OrgStatus.ACTIVE.value
    Organization.objects.filter(pk=org_id).update(
        status=status, status_before="", deleted_at=None, erase_at=None, updated_at=now()
    )
    before = {"status": org.status, "erase_at": org.erase_at}
    _tell(org, "org.restored", before=before, after={"status": status, "erase_at": None}, reason=reason)
    publish(type="org.restored", org_id=org_id, data={"org_id": str(org_id)})
    return selectors.org_get(org_id)


@transaction.atomic
def extend_grace(*, org_id: UUID, days: int, reason: str) -> None:
    """Put the erasure of a deleted organisation off by 1 to 365 days; for staff."""
    if not 1 <= days <= MAX_EXTENSION_DAYS:
        errors: Any = [{"pointer": "/days", "detail": f"From 1 to {MAX_EXTENSION_DAYS}"}]
        raise ValidationFailed("The time is not valid", errors=errors)
    reason = _checked_reason(reason)
    org = _any(org_id)
    if org.status != OrgStatus.DELETED or org.erase_at is None:
        raise Conflict("This organisation is not deleted", code="not_deleted")
    if not org.can_be_restored(now()):
        raise Conflict("Its grace is over: it is being erased", code="grace_over")
    erase_at = org.erase_at + timedelta(days=days)
    Organization.objects.filter(pk=org_id).update(erase_at=erase_at, updated_at=now())
    _tell(org, "org.grace_extended", before={"erase_at": org.erase_at}, after={"erase_at": erase_at}, reason=reason)


def _any(org_id: UUID) -> Organization:
    """The organisation's row, locked, whatever its state."""
    org = Organization.objects.select_for_update().filter(pk=org_id).first()
    if org is None:
        raise NotFound()
    return org


def _require_owner(org_id: UUID, user_id: UUID) -> None:
    with org_scope(org_id):
        role = Membership.objects.filter(user_id=user_id).values_list("role", flat=True).first()
    if role is None:
        raise NotFound()
    if role != Role.OWNER:
        raise PermissionDenied("Only an owner can restore it", code="owners_only")


def _checked_reason(reason: str) -> str:
    if not (reason := reason.strip()):
        raise ValidationFailed("A reason is needed", errors=[{"pointer": "/reason", "detail": "say why"}])
    return reason[:300]


def _tell(org: Organization, action: str, **details: Any) -> None:
    record(action=action, org_id=org.pk, target_type="organization", target_id=org.pk, target_label=org.name, **details)
