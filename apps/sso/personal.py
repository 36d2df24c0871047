"""What single sign-on keeps of a person: how their providers name them."""

from typing import Any
from uuid import UUID

from django.db.models import Q

from apps.core.database import lock_org
from apps.core.personal import PersonalData, Subject, listed, register_personal
from apps.sso.models import BreakGlass, ExternalIdentity, ScimRequest, ScimUser
from apps.sso.services import delete_scim_user

__all__ = ["register"]

_IDENTITY = ("org_id", "connection__name", "subject", "groups", "created_at", "last_used_at")
_PROVISIONED = ("org_id", "user_name", "email", "external_id", "is_active", "last_role", "attributes", "created_at")


def _export(subject: Subject) -> dict[str, Any]:
    person = subject.user_id
    return {
        "identities": listed(list(ExternalIdentity.objects.filter(user_id=person).values(*_IDENTITY))),
        "provisioned": listed(list(ScimUser.objects.filter(user_id=person).values(*_PROVISIONED))),
        "break_glass": listed(list(BreakGlass.objects.filter(user_id=person).values("org_id", "created_at"))),
    }


def _hold(user_id: UUID) -> None:
    """Everything that a provider has written here waits for its organisation's lock, and then for its person's."""
    orgs = set(ScimUser.objects.filter(user_id=user_id).values_list("org_id", flat=True))
    orgs |= set(ExternalIdentity.objects.filter(user_id=user_id).values_list("org_id", flat=True))
    for org_id in sorted(orgs):
        lock_org("sso", org_id)


def _erase(subject: Subject) -> int:
    """A provider that goes on provisioning them makes them anew: its own directory is for it to clean."""
    person = subject.user_id
    rows = list(ScimUser.objects.filter(user_id=person).order_by("org_id"))
    names = Q()
    for name in {*subject.emails, *(row.user_name for row in rows)}:
        names |= Q(subject__iexact=name)
    gone = int(ScimRequest.objects.filter(names).update(subject=""))
    for row in rows:
        delete_scim_user(org_id=row.org_id, scim_user_id=row.pk)
    gone += int(ExternalIdentity.objects.filter(user_id=person).delete()[0])
    gone += int(BreakGlass.objects.filter(user_id=person).delete()[0])
    return gone + len(rows)


def register() -> None:
    """Make the share known."""
    register_personal(PersonalData("sso", "Single sign-on and provisioning", _export, _erase, order=40, hold=_hold))
