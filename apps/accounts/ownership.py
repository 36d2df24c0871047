"""Handing an organisation to another owner."""

from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts.models import Membership, Organization, OrgStatus, Role
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, FieldError, NotFound, PermissionDenied, ValidationFailed
from apps.core.tenancy import org_scope
from apps.events.services import publish

__all__ = ["appoint_owner", "transfer_ownership"]


@transaction.atomic
def transfer_ownership(*, org_id: UUID, to_user_id: UUID, by_user_id: UUID, stay_owner: bool = False) -> None:
    """Make another member an owner; the one who does it becomes an admin, or stays an owner beside them.

    Only an owner can, whatever else a role holds, and only to a member whose account is open: an organisation always
    has an owner who can sign in. :class:`PermissionDenied` (``owners_only``), :class:`ValidationFailed`.
    """
    org = _locked(org_id)
    with org_scope(org_id):
        mine = _member(by_user_id)
        if mine is None or mine.role != Role.OWNER:
            raise PermissionDenied("Only an owner can hand the organisation over", code="owners_only")
        theirs = _successor(to_user_id)
        if to_user_id == by_user_id:
            raise _invalid("You are its owner already")
        if theirs.role == Role.OWNER and stay_owner:
            raise Conflict("They are an owner already", code="already_owner")
        if theirs.role != Role.OWNER:
            _set(org, theirs, Role.OWNER)
        if not stay_owner:
            _set(org, mine, Role.ADMIN)
        after = {"owner": theirs.user.email, "former_owner_is": "owner" if stay_owner else "admin"}
        _tell(org, "org.ownership_transferred", after=after, people={"owner": to_user_id})


@transaction.atomic
def appoint_owner(*, org_id: UUID, user_id: UUID, reason: str) -> None:
    """Make a member an owner, for staff: where the only owner's account is closed, nobody inside can."""
    if not (reason := reason.strip()):
        raise ValidationFailed("A reason is needed", errors=[{"pointer": "/reason", "detail": "say why"}])
    org = _locked(org_id)
    with org_scope(org_id):
        theirs = _successor(user_id)
        if theirs.role == Role.OWNER:
            raise Conflict("They are an owner already", code="already_owner")
        _set(org, theirs, Role.OWNER)
        _tell(
            org, "org.ownership_transferred", after={"owner": theirs.user.email}, people={"owner": user_id},
            reason=reason[:300],
        )  # fmt: skip


def _locked(org_id: UUID) -> Organization:
    org = Organization.objects.select_for_update().filter(pk=org_id).exclude(status=OrgStatus.DELETED).first()
    if org is None:
        raise NotFound()
    return org


def _member(user_id: UUID) -> Membership | None:
    found: Membership | None = Membership.objects.select_related("user").filter(user_id=user_id).first()
    return found


def _successor(user_id: UUID) -> Membership:
    member = _member(user_id)
    if member is None:
        raise _invalid("They are not a member of the organisation")
    if not member.user.is_active:
        raise _invalid("Their account is closed")
    return member


def _invalid(detail: str) -> ValidationFailed:
    errors: list[FieldError] = [{"pointer": "/user_id", "detail": detail}]
    return ValidationFailed("The organisation cannot be handed to them", errors=errors)


def _set(org: Organization, member: Membership, role: Role) -> None:
    Membership.objects.filter(pk=member.pk).update(role=role, updated_at=now())
    record(
        action="member.role_changed", org_id=org.pk, target_type="member", target_id=member.user_id,
        target_label=member.user.email, before={"role": member.role}, after={"role": role.value},
    )  # fmt: skip
    publish(
        type="member.role_changed", org_id=org.pk,
        data={
            "org_id": str(org.pk), "user_id": str(member.user_id), "role": role.value, "previous_role": member.role,
        },
    )  # fmt: skip


def _tell(org: Organization, action: str, **details: Any) -> None:
    record(action=action, org_id=org.pk, target_type="organization", target_id=org.pk, target_label=org.name, **details)
