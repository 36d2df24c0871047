"""Groups as the provider pushes them; what they give is said by mappings."""

from collections.abc import Iterable
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from apps.core.clock import now
from apps.core.database import lock_org
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope
from apps.sso.models import ScimGroup, ScimGroupMember, ScimUser
from apps.sso.scim.errors import ScimError
from apps.sso.services.mappings import apply_mappings
from apps.sso.telling import tell

__all__ = ["create_scim_group", "delete_scim_group", "update_scim_group"]

_MOST = 5000


@transaction.atomic
def create_scim_group(*, org_id: UUID, name: str, external_id: str, member_ids: Iterable[str] | None) -> UUID:
    """Take a pushed group in, and give its members what it gives. Returns the resource's id."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        if ScimGroup.objects.count() >= _MOST:
            raise ScimError(f"An organisation has at most {_MOST} groups", status=403)
        row = ScimGroup(org_id=org_id, display_name=name, external_id=external_id)
        _save(row)
        _tell(row, "scim.group_created", after={"name": name})
        apply_mappings(org_id=org_id, user_ids=_set_members(row, member_ids or []))
        return row.pk


@transaction.atomic
def update_scim_group(
    *, org_id: UUID, group_id: UUID, name: str, external_id: str, member_ids: Iterable[str] | None
) -> None:
    """Make a pushed group what the document says; ``member_ids`` None leaves its members as they are."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        row = _row(group_id)
        changed = [
            label
            for label, old, new in (("name", row.display_name, name), ("external_id", row.external_id, external_id))
            if old != new
        ]
        before, row.display_name, row.external_id = row.display_name, name, external_id
        touched = set() if member_ids is None else _set_members(row, member_ids)
        if "name" in changed:
            touched |= set(_inside(row).values_list("member__user_id", flat=True))
        if touched:
            changed.append("members")
        if not changed:
            return
        _save(row)
        _tell(
            row, "scim.group_updated", changed=sorted(set(changed)), before={"name": before},
            after={"name": name, "people": len(touched)},
        )  # fmt: skip
        apply_mappings(org_id=org_id, user_ids=touched)


@transaction.atomic
def delete_scim_group(*, org_id: UUID, group_id: UUID) -> None:
    """Forget a pushed group: what it gave is taken from its members."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        row = _row(group_id)
        touched = set(_inside(row).values_list("member__user_id", flat=True))
        _tell(row, "scim.group_deleted", before={"name": row.display_name})
        row.delete()
        apply_mappings(org_id=org_id, user_ids=touched)


def _row(group_id: UUID) -> ScimGroup:
    row: ScimGroup | None = ScimGroup.objects.select_for_update().filter(pk=group_id).first()
    if row is None:
        raise NotFound("There is no such group")
    return row


def _inside(row: ScimGroup) -> "QuerySet[ScimGroupMember]":
    rows: QuerySet[ScimGroupMember] = ScimGroupMember.objects.filter(group=row)
    return rows


def _set_members(row: ScimGroup, member_ids: Iterable[str]) -> set[UUID]:
    """Have exactly these in the group; returns the people who came or went. Ids of no user of ours are refused."""
    wanted: set[UUID] = set()
    for text in member_ids:
        try:
            wanted.add(UUID(text))
        except ValueError as error:
            raise ScimError(f"{text[:60]} is not the id of a user", "invalidValue") from error
    known = dict(ScimUser.objects.filter(pk__in=wanted).values_list("id", "user_id"))
    if strange := wanted - set(known):
        raise ScimError(f"{min(map(str, strange))} is not the id of a user", "invalidValue")
    present = dict(_inside(row).values_list("member_id", "member__user_id"))
    gone = set(present) - wanted
    ScimGroupMember.objects.filter(group=row, member_id__in=gone).delete()
    ScimGroupMember.objects.bulk_create(
        ScimGroupMember(org_id=row.org_id, group=row, member_id=member_id)
        for member_id in sorted(wanted - set(present))
    )
    return {present[one] for one in gone} | {known[one] for one in wanted - set(present)}


def _save(row: ScimGroup) -> None:
    row.updated_at = now()
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        raise ScimError("A group of this displayName is here already", "uniqueness", status=409) from error


def _tell(row: ScimGroup, action: str, *, changed: list[str] | None = None, **details: object) -> None:
    data: dict[str, object] = {"group_id": str(row.pk), "name": row.display_name}
    tell(
        action, org_id=row.org_id, target="scim_group", target_id=row.pk, label=row.display_name,
        data={**data, "changed": changed} if changed is not None else data, **details,
    )  # fmt: skip
