"""People as the provider's provisioning has them: made, changed, deactivated, activated again, deleted.

Each write takes the organisation's lock, then the person's, then rows: in the order in which an erasure takes them.
"""

from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from apps.accounts import selectors as accounts
from apps.accounts import services as members
from apps.core.database import lock_org
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope
from apps.identity import selectors as identity
from apps.identity import services as people
from apps.identity.contracts import UserInfo
from apps.identity.provisioned import rename_person, take_over_unverified
from apps.projects.departures import end_keys_of
from apps.sso import selectors
from apps.sso.models import ScimUser
from apps.sso.roles import OWNER
from apps.sso.scim.errors import ScimError
from apps.sso.scim.resources import UserValues
from apps.sso.services.mappings import apply_mappings, default_role
from apps.sso.telling import tell

__all__ = ["create_scim_user", "delete_scim_user", "update_scim_user"]

_REASON = "provisioning deactivated them"


@transaction.atomic
def create_scim_user(*, org_id: UUID, values: UserValues) -> UUID:
    """Provision a person: who they are here, and a membership where they are active. Returns the resource's id.

    An account is made only for an address of a verified domain. One that is there already joins as it is: its owner
    goes on owning it. Raises :class:`ScimError`, 409 ``uniqueness`` for one provisioned before.
    """
    with org_scope(org_id):
        lock_org("sso", org_id)
        _check_name(values.user_name)
        person = _person(org_id, values)
        if ScimUser.objects.filter(user_id=person.id).exists():
            raise ScimError("This person is provisioned already, under another userName", "uniqueness", status=409)
        row = ScimUser.objects.create(
            org_id=org_id, user_id=person.id, user_name=values.user_name, email=values.email,
            external_id=values.external_id, is_active=values.is_active, attributes=values.attributes,
        )  # fmt: skip
        _tell(row, "scim.user_created", after={"user_name": row.user_name, "is_active": row.is_active})
        if row.is_active:
            _let_in(row)
        made: UUID = row.pk
        return made


@transaction.atomic
def update_scim_user(*, org_id: UUID, scim_user_id: UUID, values: UserValues) -> None:
    """Make a provisioned person what the document says. Deactivating ends their membership, sign-ins and keys here.

    Their account's own address stays as it is: whose it is, is not the provider's to say.
    """
    with org_scope(org_id):
        lock_org("sso", org_id)
        row = _row(scim_user_id)
        if values.user_name.lower() != row.user_name.lower():
            _check_name(values.user_name)
        given = {
            "user_name": values.user_name,
            "external_id": values.external_id,
            "email": values.email or row.email,
            "attributes": values.attributes,
        }
        changed = [name for name, value in given.items() if getattr(row, name) != value]
        was_active = row.is_active
        for name in changed:
            setattr(row, name, given[name])
        row.is_active = values.is_active
        if not changed and was_active == row.is_active:
            return
        row.save()
        if changed:
            _tell(row, "scim.user_updated", changed=sorted(changed), after={"changed": sorted(changed)})
            if values.name and selectors.is_of_verified_domain(org_id=org_id, email=_address(row)):
                rename_person(user_id=row.user_id, name=values.name)
        if was_active and not row.is_active:
            _put_out(row)
        elif row.is_active and not was_active:
            _let_in(row)
            _tell(row, "scim.user_reactivated", before={"is_active": False}, after={"is_active": True})


@transaction.atomic
def delete_scim_user(*, org_id: UUID, scim_user_id: UUID) -> None:
    """Forget a provisioned person, whose membership ends as by deactivating. Their account, and what they did, stay."""
    with org_scope(org_id):
        lock_org("sso", org_id)
        row = _row(scim_user_id)
        if row.is_active:
            _put_out(row)
        # Groups that they were in have changed by it.
        _tell(row, "scim.user_deleted", before={"user_name": row.user_name})
        row.delete()


def _row(scim_user_id: UUID) -> ScimUser:
    """A resource, to be written; whoever it is of is locked before it, in whatever state their account is."""
    user_id = ScimUser.objects.filter(pk=scim_user_id).values_list("user_id", flat=True).first()
    if user_id is not None:
        identity.user_locked(user_id)
    row: ScimUser | None = ScimUser.objects.select_for_update().filter(pk=scim_user_id).first()
    if row is None:
        raise NotFound("There is no such user")
    return row


def _check_name(user_name: str) -> None:
    if ScimUser.objects.filter(user_name__iexact=user_name).exists():
        raise ScimError("This userName is taken", "uniqueness", status=409)


def _person(org_id: UUID, values: UserValues) -> UserInfo:
    try:
        validate_email(values.email)
    except ValidationError as error:
        raise ScimError("An e-mail address is needed: in emails, or as userName", "invalidValue") from error
    found = identity.user_by_email(values.email)
    if found is not None:
        # Whoever was erased, or moved to another address, while this waited is not who is meant.
        found = identity.user_locked(found.id)
        if found is not None and found.email != identity.normal_email(values.email):
            found = None
    is_ours = selectors.is_of_verified_domain(org_id=org_id, email=values.email)
    if found is not None and (found.email_verified or is_ours):
        return found if found.email_verified else take_over_unverified(user_id=found.id, reason="provisioning")
    if not is_ours:
        # Else an organisation could make itself an account of anybody's address.
        raise ScimError(
            f"{selectors.domain_of(values.email)} is not a verified domain of this organisation", "invalidValue"
        )
    return people.register(email=values.email, password=None, name=values.name, email_verified=True)


def _address(row: ScimUser) -> str:
    person = identity.user_find(row.user_id)
    return person.email if person else ""


# ---------------------------------------------------------------- in and out
def _let_in(row: ScimUser) -> None:
    """Make them a member, as what they last were; what their groups give follows."""
    if accounts.role_of(org_id=row.org_id, user_id=row.user_id) is None:
        # No provider makes an owner, not even one who was.
        last = "admin" if row.last_role == OWNER else row.last_role
        members.add_member(org_id=row.org_id, user_id=row.user_id, role=last or default_role(row.org_id))
    apply_mappings(org_id=row.org_id, user_ids=[row.user_id])


def _put_out(row: ScimUser) -> None:
    """End their membership and their keys; and their sign-ins, where the organisation owns their address.

    Whose address is somebody else's has other organisations too: here nothing is left to them anyway.
    """
    role = accounts.role_of(org_id=row.org_id, user_id=row.user_id)
    if role is not None:
        ScimUser.objects.filter(pk=row.pk).update(last_role=role)
        members.remove_member(org_id=row.org_id, user_id=row.user_id)
    end_keys_of(org_id=row.org_id, owner_id=row.user_id, reason=_REASON)
    if selectors.is_of_verified_domain(org_id=row.org_id, email=_address(row)):
        people.end_all_sessions(user_id=row.user_id, reason="deprovisioned")
    _tell(row, "scim.user_deactivated", before={"is_active": True}, after={"is_active": False, "last_role": role})


def _tell(row: ScimUser, action: str, *, changed: list[str] | None = None, **details: object) -> None:
    data: dict[str, object] = {"scim_user_id": str(row.pk), "user_id": str(row.user_id)}
    tell(
        action, org_id=row.org_id, target="scim_user", target_id=row.pk, label=row.user_name,
        data={**data, "changed": changed} if changed is not None else data, **details,
    )  # fmt: skip
