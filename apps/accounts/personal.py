"""What accounts keeps of a person: where they belong, and who was in their place."""

from typing import Any
from uuid import UUID

from django.db.models import Q

from apps.accounts.models import AccessReview, Impersonation, Membership, OrgExport, OrgStatus, Role
from apps.accounts.services import remove_member
from apps.audit.services import record
from apps.core.errors import Conflict
from apps.core.personal import PersonalData, Subject, listed, register_personal
from apps.core.tenancy import org_scope

__all__ = ["register"]


def _export(subject: Subject) -> dict[str, Any]:
    """Of stays in somebody's place the times alone: the reasons are notes of the staff."""
    person = subject.user_id
    members = Membership.objects.filter(user_id=person).order_by("created_at")
    stays = Impersonation.objects.filter(Q(user_id=person) | Q(staff_id=person)).order_by("started_at")
    reviews = AccessReview.objects.filter(reviewer_id=person).order_by("created_at")
    exports = OrgExport.objects.filter(requested_by_id=person).order_by("created_at")
    return {
        "memberships": listed(list(members.values("org_id", "org__name", "role", "created_at"))),
        "impersonations": listed(list(stays.values("org_id", "started_at", "ends_at", "ended_at", "may_write"))),
        "access_reviews": listed(list(reviews.values("org_id", "created_at", "note"))),
        "exports_of_organisations": listed(list(exports.values("org_id", "created_at", "state"))),
    }


def _erase(subject: Subject) -> int:
    """End every membership; :class:`Conflict` (``last_owner``) where one of them holds an organisation together."""
    person = subject.user_id
    # One order for everybody who locks several organisations.
    mine = list(Membership.objects.select_related("org").filter(user_id=person).order_by("org_id"))
    if alone := sorted(each.org.name for each in mine if _is_last_owner(each)):
        raise Conflict(
            f"Nobody else owns {', '.join(alone)}: make another member an owner, or delete it, first",
            code="last_owner", extra={"organisations": alone},
        )  # fmt: skip
    for each in mine:
        if each.org.status == OrgStatus.DELETED:
            _part_from_deleted(each)
        else:
            remove_member(org_id=UUID(str(each.org_id)), user_id=person, by_user_id=person)
    return len(mine)


def _is_last_owner(member: Membership) -> bool:
    if member.role != Role.OWNER or member.org.status == OrgStatus.DELETED:
        return False
    others = Membership.objects.filter(org_id=member.org_id, role=Role.OWNER, user__is_active=True)
    return not others.exclude(pk=member.pk).exists()


def _part_from_deleted(member: Membership) -> None:
    """Of an organisation that is on its way out nobody is told any more."""
    org_id = UUID(str(member.org_id))
    with org_scope(org_id):
        Membership.objects.filter(pk=member.pk).delete()
        record(
            action="member.removed", org_id=org_id, target_type="member", target_id=member.user_id,
            before={"role": member.role},
        )  # fmt: skip


def register() -> None:
    """Make the share known: the first, for it may refuse, and keys and teams follow from it."""
    register_personal(PersonalData("accounts", "Organisations", _export, _erase, order=10))
