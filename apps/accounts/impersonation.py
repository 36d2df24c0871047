"""Staff in the place of a member: with a reason, for a time, seen by the organisation.

A stay is bound to the staff member's own browser session and to one organisation; outside ``/o/<its slug>/`` they are
themselves. It reads only, unless it was begun to write. Both identities stand in every entry of the trail that it
causes, and its beginning and end stand in the organisation's own.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from apps.accounts import selectors
from apps.accounts.models import Impersonation, Membership, OrgStatus
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, FieldError, NotFound, PermissionDenied, ValidationFailed
from apps.core.tenancy import org_scope, system_scope

__all__ = ["LEAST_REASON", "current_stay", "end", "end_by_staff", "end_expired", "start"]

LEAST_REASON = 10
_KEY = "accounts.impersonation"


# ---------------------------------------------------------------- writing
def start(
    *, request: HttpRequest, org_id: UUID, user_id: UUID, reason: str, minutes: int, may_write: bool = False
) -> Impersonation:
    """Let the signed-in staff member be a member of an organisation in this browser session; ends an earlier stay.

    Raises :class:`PermissionDenied` for whoever is not staff with a proved second factor, :class:`ValidationFailed` for
    a reason under ten characters or a time that is too long, :class:`NotFound` for whoever is no member, and
    :class:`Conflict` for other staff and closed accounts.
    """
    staff: Any = request.user
    if not _is_staff(staff):
        raise PermissionDenied("Only staff with a second factor may enter an organisation in somebody's place")
    _check(reason, minutes)
    with transaction.atomic():
        with system_scope("staff enters an organisation in a member's place"):
            member = (
                Membership.objects.select_related("org", "user")
                .filter(org_id=org_id, user_id=user_id)
                .exclude(org__status=OrgStatus.DELETED)
                .first()
            )
        if member is None:
            raise NotFound()
        person: Any = member.user
        if person.is_staff or not person.is_active:
            raise Conflict(
                "Nobody may be in the place of other staff, or of an account that is closed", code="not_them"
            )
        _leave(request)
        moment = now()
        with org_scope(org_id):
            stay: Impersonation = Impersonation.objects.create(
                org_id=org_id, staff=staff, user=person, reason=reason.strip(), may_write=may_write, started_at=moment,
                ends_at=moment + timedelta(minutes=minutes),
            )  # fmt: skip
            _tell(stay, "impersonation.started")
    request.session.cycle_key()
    request.session[_KEY] = str(stay.pk)
    return stay


def end(*, request: HttpRequest) -> UUID | None:
    """End the stay of this session, if there is one; returns its organisation."""
    with transaction.atomic():
        org_id = _leave(request)
    request.session.cycle_key()
    return org_id


def end_by_staff(*, stay_id: UUID) -> None:
    """End somebody's stay from the staff admin, at once."""
    with transaction.atomic(), system_scope("staff ends a stay in an organisation"):
        stay = Impersonation.objects.select_related("user", "staff").filter(pk=stay_id).first()
        if stay is None:
            raise NotFound()
        _end(stay, "ended_by_staff")


def end_expired() -> int:
    """Write down the end of stays whose time is over; returns how many. They let nobody in since then."""
    with system_scope("stays in organisations end by themselves"):
        over = list(
            Impersonation.objects.select_related("user", "staff").filter(ended_at=None, ends_at__lte=now())[:500]
        )
        for stay in over:
            with transaction.atomic():
                _end(stay, "expired")
    return len(over)


def _check(reason: str, minutes: int) -> None:
    wrong: list[FieldError] = []
    if len(reason.strip()) < LEAST_REASON:
        wrong.append({"pointer": "/reason", "detail": f"Say why, in {LEAST_REASON} characters or more"})
    most = settings.IMPERSONATION_MINUTES
    if not 1 <= minutes <= most:
        wrong.append({"pointer": "/minutes", "detail": f"From 1 to {most} minutes"})
    if wrong:
        raise ValidationFailed("A stay needs a reason and an end", errors=wrong)


def _leave(request: HttpRequest) -> UUID | None:
    held = request.session.pop(_KEY, None)
    if held is None:
        return None
    with system_scope("a stay in an organisation ends"):
        stay = Impersonation.objects.select_related("user", "staff").filter(pk=held).first()
        if stay is None:
            return None
        _end(stay, "ended")
    return UUID(str(stay.org_id))


def _end(stay: Impersonation, how: str) -> None:
    """Once: a stay that was left and one that ran out at the same moment are one end."""
    changed = Impersonation.objects.filter(pk=stay.pk, ended_at=None).update(ended_at=now(), end_reason=how)
    if changed:
        _tell(stay, "impersonation.ended", how=how)


def _tell(stay: Impersonation, action: str, **after: Any) -> None:
    record(
        action=action, org_id=UUID(str(stay.org_id)), target_type="user", target_id=stay.user_id,
        target_label=stay.user.email, reason=stay.reason,
        after={"staff": stay.staff.email, "may_write": stay.may_write, "until": stay.ends_at.isoformat(), **after},
        people={"staff": UUID(str(stay.staff_id))},
    )  # fmt: skip


# ---------------------------------------------------------------- reading
def current_stay(request: HttpRequest, slug: str) -> Impersonation | None:
    """The stay in this organisation under which the signed-in staff member is its member now; None where there is none.

    Everything is asked anew with each request: the time, the staff member's standing and second factor, the member's
    account and membership.
    """
    held = request.session.get(_KEY)
    if held is None or not _is_staff(request.user):
        return None
    with system_scope("finds whose place staff is in"):
        stay: Impersonation | None = (
            Impersonation.objects.select_related("user", "staff", "org")
            .filter(pk=held, org__slug=slug, staff_id=request.user.pk, ended_at=None, ends_at__gt=now())
            .first()
        )
    person: Any = stay.user if stay else None
    if stay is None or person.is_staff or not person.is_active:
        return None
    return stay if selectors.role_of(org_id=stay.org.pk, user_id=person.pk) else None


def _is_staff(user: Any) -> bool:
    return bool(user.is_active and getattr(user, "is_staff", False) and user.is_verified())
