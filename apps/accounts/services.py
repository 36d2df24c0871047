"""Writes of organisations and memberships."""

import secrets
from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from apps.accounts import selectors
from apps.accounts.access_services import confirm_access_review, remind_access_reviews
from apps.accounts.contracts import OrgInfo
from apps.accounts.erasure import erase_due, erase_organization
from apps.accounts.factors import require_own_factor
from apps.accounts.models import Membership, Organization, OrgStatus, ReviewEvery, Role
from apps.accounts.org_exports import fetch_export, make_export, request_export, sweep_exports
from apps.accounts.org_life import delete_organization, extend_grace, restore_organization
from apps.accounts.ownership import appoint_owner, transfer_ownership
from apps.accounts.permissions import capabilities_of_role, require_above
from apps.accounts.ports import keys_of_members
from apps.accounts.role_services import create_role, delete_role, update_role
from apps.accounts.seats import lock_seats, require_seats
from apps.accounts.slugs import RESERVED_SLUGS, take_slug
from apps.audit.services import record
from apps.core.clock import now, zone_names
from apps.core.errors import Conflict, FieldError, NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.identity import selectors as identity
from apps.identity.defaults import set_default_org

__all__ = [
    "add_member",
    "appoint_owner",
    "change_member_role",
    "choose_default_organization",
    "confirm_access_review",
    "create_organization",
    "create_role",
    "delete_organization",
    "delete_role",
    "erase_due",
    "erase_organization",
    "extend_grace",
    "fetch_export",
    "make_export",
    "remind_access_reviews",
    "remove_member",
    "request_export",
    "restore_organization",
    "resume_organization",
    "resume_organizations",
    "suspend_organization",
    "suspend_organizations",
    "sweep_exports",
    "transfer_ownership",
    "update_organization",
    "update_role",
]


def _invalid(pointer: str, detail: str) -> ValidationFailed:
    errors: list[FieldError] = [{"pointer": pointer, "detail": detail}]
    return ValidationFailed("The organisation is not valid", errors=errors)


def _check(fields: dict[str, Any]) -> None:
    if "timezone" in fields and fields["timezone"] not in zone_names():
        raise _invalid("/timezone", f"{fields['timezone']!r} is not an IANA time zone")
    if "name" in fields and not fields["name"].strip():
        raise _invalid("/name", "This may not be blank")
    if "slug" in fields:
        slug = fields["slug"]
        if slug in RESERVED_SLUGS or slug != slugify(slug) or not slug:
            raise _invalid("/slug", "Lower-case letters, digits and hyphens; some words are reserved")
    if fields.get("access_review_every", ReviewEvery.OFF) not in ReviewEvery.values:
        raise _invalid("/access_review_every", f"one of {', '.join(ReviewEvery.values)}")
    if "raw_retention_days" in fields and not 1 <= fields["raw_retention_days"] <= 400:
        raise _invalid("/raw_retention_days", "From 1 to 400 days")


def create_organization(*, owner_id: UUID, name: str, slug: str = "", timezone: str = "UTC") -> OrgInfo:
    """Make an organisation with its first owner. Without ``slug`` one is made of the name, with a tail where taken."""
    _check({"name": name, "timezone": timezone, **({"slug": slug} if slug else {})})
    chosen = slug or slugify(name)[:50] or "org"
    if not slug and chosen in RESERVED_SLUGS:
        chosen += "-org"
    for attempt in range(6):
        try:
            with transaction.atomic():
                return _create(owner_id, name.strip(), chosen, timezone)
        except (IntegrityError, Conflict) as error:
            if slug:
                raise Conflict("This short name is taken", code="slug_taken") from error
            if attempt == 5:
                raise
            chosen = f"{slugify(name)[:50] or 'org'}-{secrets.token_hex(2)}"
    raise AssertionError("unreachable")


def _create(owner_id: UUID, name: str, slug: str, timezone: str) -> OrgInfo:
    org = Organization(name=name, slug=slug, timezone=timezone)
    # Before the row itself, as a change of it does: two that want one name must not wait for each other.
    take_slug(org_id=org.pk, slug=slug)
    org.save(force_insert=True)
    with org_scope(org.pk):
        Membership.objects.create(org_id=org.pk, user_id=owner_id, role=Role.OWNER)
        record(
            action="org.created", org_id=org.pk, target_type="organization", target_id=org.pk, target_label=name,
            after={"name": name, "slug": slug, "timezone": timezone, "owner_id": owner_id},
        )  # fmt: skip
        publish(type="org.created", org_id=org.pk, data={"org_id": str(org.pk), "name": name, "slug": slug})
        publish(
            type="member.added", org_id=org.pk,
            data={"org_id": str(org.pk), "user_id": str(owner_id), "role": Role.OWNER.value},
        )  # fmt: skip
    return selectors.org_info(org)


def _locked(org_id: UUID) -> Organization:
    """The organisation's row, locked: writes that weigh members against each other go one after the other."""
    org = Organization.objects.select_for_update().filter(pk=org_id).exclude(status=OrgStatus.DELETED).first()
    if org is None:
        raise NotFound()
    return org


@transaction.atomic
def update_organization(*, org_id: UUID, changes: dict[str, Any]) -> OrgInfo:
    """Change ``name``, ``slug``, ``timezone``, ``raw_retention_days``, ``requires_mfa`` or ``access_review_every``."""
    _check(changes)
    org = _locked(org_id)
    changes = {name: value for name, value in changes.items() if getattr(org, name) != value}
    if not changes:
        return selectors.org_info(org)
    if changes.get("requires_mfa"):
        require_own_factor(org_id)
    before = {name: getattr(org, name) for name in changes}
    if "slug" in changes:
        # The one before stays the organisation's own: its addresses lead on to the new one.
        take_slug(org_id=org_id, slug=changes["slug"])
    for name, value in changes.items():
        setattr(org, name, value)
    try:
        with transaction.atomic():
            org.save()
    except IntegrityError as error:
        raise Conflict("This short name is taken", code="slug_taken") from error
    _tell(org, "org.updated", before=before, after=changes)
    publish(type="org.updated", org_id=org_id, data={"org_id": str(org_id), "changed": sorted(changes)})
    return selectors.org_info(org)


def suspend_organization(*, org_id: UUID, reason: str) -> None:
    """:func:`suspend_organizations` for one; :class:`NotFound` where there is none."""
    suspend_organizations(org_ids=[org_id], reason=reason)


def resume_organization(*, org_id: UUID, reason: str) -> None:
    """:func:`resume_organizations` for one; :class:`NotFound` where there is none."""
    resume_organizations(org_ids=[org_id], reason=reason)


@transaction.atomic
def suspend_organizations(*, org_ids: Collection[UUID], reason: str) -> None:
    """Let organisations only be read, and refuse their keys, until they are resumed; for staff. All of them or none.

    :class:`Conflict` where one is suspended already, :class:`ValidationFailed` without a reason.
    """
    _set_status(org_ids, OrgStatus.SUSPENDED, "org.suspended", reason)


@transaction.atomic
def resume_organizations(*, org_ids: Collection[UUID], reason: str) -> None:
    """Undo suspensions; for staff. All of them or none; :class:`Conflict` where one is not suspended."""
    _set_status(org_ids, OrgStatus.ACTIVE, "org.resumed", reason)


def _set_status(org_ids: Collection[UUID], status: OrgStatus, action: str, reason: str) -> None:
    reason = _checked_reason(reason)
    # In one order, so that two that change the same ones do not wait for each other.
    orgs = [_locked(org_id) for org_id in sorted(set(org_ids))]
    if settled := [org.name for org in orgs if org.status == status]:
        said = "suspended already" if status == OrgStatus.SUSPENDED else "not suspended"
        names = ", ".join(sorted(settled))
        raise Conflict(f"{names}: {said}. Nothing was changed.", code=f"already_{status.value}")
    for org in orgs:
        Organization.objects.filter(pk=org.pk).update(status=status, status_reason=reason, updated_at=now())
        _tell(org, action, before={"status": org.status}, after={"status": status.value}, reason=reason)
        publish(type="org.updated", org_id=org.pk, data={"org_id": str(org.pk), "changed": ["status"]})


def _checked_reason(reason: str) -> str:
    reason = reason.strip()
    longest = Organization._meta.get_field("status_reason").max_length or 0
    if not reason:
        raise ValidationFailed("A reason is needed", errors=[{"pointer": "/reason", "detail": "say why"}])
    if len(reason) > longest:
        detail = f"{longest} characters at most"
        raise ValidationFailed("The reason is too long", errors=[{"pointer": "/reason", "detail": detail}])
    return reason


def _tell(org: Organization, action: str, **details: Any) -> None:
    record(action=action, org_id=org.pk, target_type="organization", target_id=org.pk, target_label=org.name, **details)


# ---------------------------------------------------------------- members
def _role_ceiling(org_id: UUID, by_user_id: UUID | None, *roles: str) -> None:
    """Nobody gives or takes a role that holds what they do not; ``None`` is the system."""
    if by_user_id is not None:
        held = [capabilities_of_role(org_id=org_id, role=role) for role in roles]
        require_above(org_id=org_id, by_user_id=by_user_id, capabilities=frozenset().union(*held))


@transaction.atomic
def add_member(*, org_id: UUID, user_id: UUID, role: str, by_user_id: UUID | None = None) -> None:
    """Make a person a member; :class:`Conflict` where they are one already, :class:`PermissionDenied` where the plan's
    seats are taken (``plan_limit_reached``)."""
    # Before any lock of the organisation: whoever is being erased in this moment is no member afterwards.
    user = identity.user_held(user_id)
    lock_seats(org_id)
    org = _locked(org_id)
    _check_role(org_id, role)
    _role_ceiling(org_id, by_user_id, role)
    with org_scope(org_id):
        if Membership.objects.filter(user_id=user_id).exists():
            raise Conflict("They are a member already", code="already_member")
        require_seats(org_id=org_id, wanted=1)
        Membership.objects.create(org_id=org_id, user_id=user_id, role=role)
        _tell_member(org, "member.added", user_id, user.email, after={"role": role})
        publish(type="member.added", org_id=org_id, data={"org_id": str(org_id), "user_id": str(user_id), "role": role})


@transaction.atomic
def change_member_role(*, org_id: UUID, user_id: UUID, role: str, by_user_id: UUID | None = None) -> None:
    """Give a member another role; the last owner keeps theirs."""
    org = _locked(org_id)
    _check_role(org_id, role)
    with org_scope(org_id):
        member = _member(user_id)
        _role_ceiling(org_id, by_user_id, role, member.role)
        if member.role == role:
            return
        if member.role == Role.OWNER:
            _keep_an_owner(user_id)
        Membership.objects.filter(pk=member.pk).update(role=role, updated_at=now())
        _tell_member(
            org, "member.role_changed", user_id, member.user.email, before={"role": member.role}, after={"role": role}
        )
        publish(
            type="member.role_changed", org_id=org_id,
            data={"org_id": str(org_id), "user_id": str(user_id), "role": role, "previous_role": member.role},
        )  # fmt: skip


@transaction.atomic
def remove_member(*, org_id: UUID, user_id: UUID, by_user_id: UUID | None = None, keys_to: UUID | None = None) -> None:
    """Remove a member, or leave; the last owner cannot.

    Their keys end with it, dead within a second, unless another member takes them over (``keys_to``).
    """
    org = _locked(org_id)
    with org_scope(org_id):
        member = _member(user_id)
        if by_user_id != user_id:
            _role_ceiling(org_id, by_user_id, member.role)
        if member.role == Role.OWNER:
            _keep_an_owner(user_id)
        keys = _part_with_keys(org_id, user_id, keys_to)
        Membership.objects.filter(pk=member.pk).delete()
        _tell_member(org, "member.removed", user_id, member.user.email, before={"role": member.role, **keys})
        publish(
            type="member.removed", org_id=org_id,
            data={"org_id": str(org_id), "user_id": str(user_id), "role": member.role},
        )  # fmt: skip


def _part_with_keys(org_id: UUID, user_id: UUID, keys_to: UUID | None) -> dict[str, Any]:
    if keys_to is None:
        ended = keys_of_members.get().end(org_id, user_id, "their owner left the organisation")
        return {"keys_revoked": ended} if ended else {}
    if keys_to == user_id or not Membership.objects.filter(user_id=keys_to, user__is_active=True).exists():
        raise ValidationFailed(
            "The keys cannot be handed over",
            errors=[{"pointer": "/keys_to", "detail": "Another member of the organisation, with an open account"}],
        )
    return {"keys_handed_over": keys_of_members.get().hand_over(org_id, user_id, keys_to), "keys_to": keys_to}


def _check_role(org_id: UUID, role: str) -> None:
    """The organisation's row is locked, so a role that is there now is there when the member gets it."""
    if selectors.role_find(org_id=org_id, role=role) is None:
        known = ", ".join(each.key for each in selectors.roles_of_org(org_id))
        raise ValidationFailed("The role is not valid", errors=[{"pointer": "/role", "detail": f"one of {known}"}])


def _member(user_id: UUID) -> Membership:
    member: Membership | None = Membership.objects.select_related("user").filter(user_id=user_id).first()
    if member is None:
        raise NotFound()
    return member


def _keep_an_owner(user_id: UUID) -> None:
    """The organisation's row is locked, so two owners that leave at once do not both see the other stay.

    One whose account is closed cannot sign in: an organisation of theirs alone would be nobody's.
    """
    others = Membership.objects.filter(role=Role.OWNER, user__is_active=True).exclude(user_id=user_id)
    if not others.exists():
        raise Conflict("The last owner can neither leave nor become something else", code="last_owner")


def _tell_member(org: Organization, action: str, user_id: UUID, email: str, **details: Any) -> None:
    record(action=action, org_id=org.pk, target_type="member", target_id=user_id, target_label=email, **details)


# ---------------------------------------------------------------- a person's own
def choose_default_organization(*, user_id: UUID, org_id: UUID | None) -> None:
    """Say which organisation a person means when they name none; None: their oldest. One they belong to."""
    if org_id is not None and selectors.role_of(org_id=org_id, user_id=user_id) is None:
        raise NotFound()
    set_default_org(user_id=user_id, org_id=org_id)
