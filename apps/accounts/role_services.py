"""Writes of roles that organisations make for themselves.

Nobody makes, changes or ends a role that holds what they do not hold themselves: neither what it held before nor what
it will hold. Each write takes the organisation's row first, as every write of its members does, so that what a person
holds cannot change between the look and the write.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.text import slugify

from apps.accounts import role_selectors
from apps.accounts.capabilities import CAPABILITIES, OWNER_ONLY, ROLE_CAPABILITIES, held_of
from apps.accounts.contracts import RoleInfo
from apps.accounts.models import CustomRole, Membership, Organization, OrgStatus
from apps.accounts.permissions import require_above
from apps.accounts.ports import role_uses
from apps.audit.services import record
from apps.core import ports
from apps.core.clock import now
from apps.core.errors import Conflict, FieldError, NotFound, PermissionDenied, ValidationFailed
from apps.core.tenancy import org_scope
from apps.events.services import publish

__all__ = ["MAX_ROLES", "create_role", "delete_role", "update_role"]

# A person chooses among them in one list.
MAX_ROLES = 50


@transaction.atomic
def create_role(
    *,
    org_id: UUID,
    name: str,
    capabilities: Sequence[str],
    description: str = "",
    by_user_id: UUID | None = None,
) -> RoleInfo:
    """Make a role out of named permissions. The plan may limit how many there are; 50 are the most in any case.

    :class:`Conflict` where the name is taken.
    """
    with org_scope(org_id):
        _lock(org_id)
        fields = _checked({"name": name, "description": description, "capabilities": capabilities})
        require_above(org_id=org_id, by_user_id=by_user_id, capabilities=fields["capabilities"])
        _check_room(org_id)
        _check_name(fields["name"])
        role = CustomRole.objects.create(org_id=org_id, key=_free_key(fields["name"]), **fields)
        _tell(role, "role.created", after={"key": role.key, **fields})
        publish(type="role.created", org_id=org_id, data=_event(role))
        return role_selectors.role_info(role)


@transaction.atomic
def update_role(*, org_id: UUID, role_id: UUID, changes: dict[str, Any], by_user_id: UUID | None = None) -> RoleInfo:
    """Change ``name``, ``description`` or ``capabilities``; whoever has the role may do what it says at once."""
    with org_scope(org_id):
        _lock(org_id)
        role = _role(role_id)
        changes = _checked(changes)
        require_above(
            org_id=org_id, by_user_id=by_user_id,
            capabilities=held_of(None, role.capabilities) | set(changes.get("capabilities", ())),
        )  # fmt: skip
        changes = {name: value for name, value in changes.items() if getattr(role, name) != value}
        if not changes:
            return role_selectors.role_info(role)
        if "name" in changes:
            _check_name(changes["name"], but=role_id)
        before = {name: getattr(role, name) for name in changes}
        for name, value in changes.items():
            setattr(role, name, value)
        role.save()
        _tell(role, "role.updated", before=before, after=changes)
        publish(type="role.updated", org_id=org_id, data={**_event(role), "changed": sorted(changes)})
        return role_selectors.role_info(role)


@transaction.atomic
def delete_role(*, org_id: UUID, role_id: UUID, replacement: str | None = None, by_user_id: UUID | None = None) -> None:
    """Delete a role. Whoever has it gets ``replacement`` in its place; without one, a role in use stays (Conflict)."""
    with org_scope(org_id):
        org = _lock(org_id)
        role = _role(role_id)
        require_above(org_id=org_id, by_user_id=by_user_id, capabilities=held_of(None, role.capabilities))
        members = list(Membership.objects.select_related("user").filter(role=role.key).order_by("created_at", "id"))
        used = {use.label: found for use in role_uses if (found := use.count(org_id, role.key))}
        if members:
            used["members"] = len(members)
        if used:
            _replace(org, role, members, used, replacement, by_user_id)
        _tell(role, "role.deleted", before={"name": role.name, "capabilities": role.capabilities})
        publish(type="role.deleted", org_id=org_id, data=_event(role))
        role.delete()


def _replace(
    org: Organization,
    role: CustomRole,
    members: list[Membership],
    used: dict[str, int],
    replacement: str | None,
    by_user_id: UUID | None,
) -> None:
    """Put another role in the place of one that goes, for each member and in whatever else names it."""
    if replacement is None:
        raise Conflict("This role is in use: say which one takes its place", code="role_in_use", extra={"used": used})
    other = role_selectors.role_find(org_id=org.pk, role=replacement)
    if other is None or other.key == role.key:
        raise _invalid("/replacement", "another role of the organisation")
    require_above(org_id=org.pk, by_user_id=by_user_id, capabilities=other.capabilities)
    Membership.objects.filter(role=role.key).update(role=other.key, updated_at=now())
    for member in members:
        record(
            action="member.role_changed", org_id=org.pk, target_type="member", target_id=member.user_id,
            target_label=member.user.email, before={"role": role.key}, after={"role": other.key},
        )  # fmt: skip
        publish(
            type="member.role_changed", org_id=org.pk,
            data={
                "org_id": str(org.pk), "user_id": str(member.user_id), "role": other.key, "previous_role": role.key,
            },
        )  # fmt: skip
    for use in role_uses:
        use.replace(org.pk, role.key, other.key)


# ---------------------------------------------------------------- parts
def _lock(org_id: UUID) -> Organization:
    org = Organization.objects.select_for_update().filter(pk=org_id).exclude(status=OrgStatus.DELETED).first()
    if org is None:
        raise NotFound()
    return org


def _role(role_id: UUID) -> CustomRole:
    role: CustomRole | None = CustomRole.objects.filter(pk=role_id).first()
    if role is None:
        raise NotFound()
    return role


def _invalid(pointer: str, detail: str) -> ValidationFailed:
    errors: list[FieldError] = [{"pointer": pointer, "detail": detail}]
    return ValidationFailed("The role is not valid", errors=errors)


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are kept; :class:`ValidationFailed` for what cannot be."""
    kept = dict(fields)
    if "name" in kept:
        kept["name"] = " ".join(kept["name"].split())
        if not 1 <= len(kept["name"]) <= 60:
            raise _invalid("/name", "1 to 60 characters")
        if kept["name"].casefold() in ROLE_CAPABILITIES:
            raise _invalid("/name", "The name of a built-in role")
    if "description" in kept:
        kept["description"] = " ".join(kept["description"].split())
        if len(kept["description"]) > 200:
            raise _invalid("/description", "200 characters at most")
    if "capabilities" in kept:
        kept["capabilities"] = _checked_capabilities(kept["capabilities"])
    return kept


def _checked_capabilities(capabilities: Sequence[str]) -> list[str]:
    if not capabilities:
        raise _invalid("/capabilities", "A role needs at least one permission")
    for index, name in enumerate(capabilities):
        if name in OWNER_ONLY:
            raise _invalid(f"/capabilities/{index}", "Owners alone may do this")
        if name not in CAPABILITIES:
            raise _invalid(f"/capabilities/{index}", "There is no such permission")
    return sorted(set(capabilities))


def _check_room(org_id: UUID) -> None:
    made = CustomRole.objects.count()
    limit = ports.plan_limits.get().limit(org_id, "custom_roles")
    if limit is not None and made >= limit:
        raise PermissionDenied(f"The plan allows {limit} roles of your own", code="plan_limit_reached")
    if made >= MAX_ROLES:
        raise Conflict(f"{MAX_ROLES} roles are the most an organisation can make", code="too_many_roles")


def _check_name(name: str, *, but: UUID | None = None) -> None:
    if CustomRole.objects.filter(name__iexact=name).exclude(pk=but).exists():
        raise Conflict("There is a role of this name", code="role_name_taken")


def _free_key(name: str) -> str:
    base, number = slugify(name)[:50].strip("-") or "role", 1
    key = base
    while key in ROLE_CAPABILITIES or CustomRole.objects.filter(key=key).exists():
        number += 1
        key = f"{base}-{number}"
    return key


def _event(role: CustomRole) -> dict[str, Any]:
    return {"org_id": str(role.org_id), "role_id": str(role.pk), "role": role.key}


def _tell(role: CustomRole, action: str, **details: Any) -> None:
    record(action=action, org_id=role.org_id, target_type="role", target_id=role.pk, target_label=role.name, **details)
