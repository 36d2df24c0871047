"""Reads of roles: the built-in ones, those that an organisation has made, and what a person may do by theirs."""

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, OuterRef, QuerySet, Subquery

from apps.accounts.capabilities import BUILT_IN_WORDS, ROLE_CAPABILITIES, held_of
from apps.accounts.contracts import MembershipInfo, RoleInfo
from apps.accounts.models import CustomRole, Membership, OrgStatus
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope

__all__ = [
    "capabilities_for",
    "members_with_role",
    "membership_and_gate",
    "membership_get",
    "role_find",
    "role_get",
    "role_holders",
    "role_info",
    "role_label",
    "roles_of_org",
    "with_role",
]


def role_info(role: CustomRole) -> RoleInfo:
    """The contract of a row."""
    return RoleInfo(
        key=role.key,
        name=role.name,
        description=role.description,
        capabilities=held_of(None, role.capabilities),
        id=role.pk,
        created_at=role.created_at,
        updated_at=role.updated_at,
    )


_BUILT_IN = {
    key: RoleInfo(key=key, name=key.capitalize(), description=BUILT_IN_WORDS[key], capabilities=held)
    for key, held in ROLE_CAPABILITIES.items()
}


def roles_of_org(org_id: UUID) -> list[RoleInfo]:
    """The built-in roles from the highest down, then the organisation's own by name; one query."""
    with org_scope(org_id):
        made = [role_info(row) for row in CustomRole.objects.order_by("name", "id")]
    return [*_BUILT_IN.values(), *made]


def role_find(*, org_id: UUID, role: str) -> RoleInfo | None:
    """The role behind a word, or None; a built-in one costs no query."""
    if role in _BUILT_IN:
        return _BUILT_IN[role]
    if "\0" in role:  # which PostgreSQL has no text for
        return None
    with org_scope(org_id):
        row = CustomRole.objects.filter(key=role).first()
    return role_info(row) if row else None


def role_get(*, org_id: UUID, role_id: UUID) -> RoleInfo:
    """A role that the organisation has made; :class:`NotFound` otherwise."""
    with org_scope(org_id):
        row = CustomRole.objects.filter(pk=role_id).first()
    if row is None:
        raise NotFound()
    return role_info(row)


def role_label(*, org_id: UUID, role: str) -> str:
    """What a role is called in a sentence: ``developer``, ``Release manager``; the word itself where it is gone."""
    found = role_find(org_id=org_id, role=role)
    return found.label if found else role


def role_holders(org_id: UUID) -> dict[str, int]:
    """Role → how many members hold it; roles that nobody holds are left out."""
    with org_scope(org_id):
        return dict(Membership.objects.order_by().values_list("role").annotate(Count("id")))


def with_role(rows: QuerySet[Membership]) -> QuerySet[Any]:
    """Memberships with ``held``, the list of a role that the organisation made, and ``role_name``, its name.

    Both are None for built-in roles. Read in the statement that reads the membership, so that what a person may do is
    never put together out of two moments.
    """
    role = CustomRole.objects.filter(org_id=OuterRef("org_id"), key=OuterRef("role"))
    return rows.annotate(held=Subquery(role.values("capabilities")[:1]), role_name=Subquery(role.values("name")[:1]))


# Asked with every request: as a query of the ORM the reckoning of its text costs ten times what PostgreSQL takes.
_MEMBERSHIP = """
SELECT membership.role, role.capabilities, role.name, org.status, org.requires_mfa
FROM accounts_membership membership
JOIN accounts_organization org ON org.id = membership.org_id
LEFT JOIN accounts_customrole role ON role.org_id = membership.org_id AND role.key = membership.role
WHERE membership.org_id = %s AND membership.user_id = %s AND org.status <> %s
"""


def membership_get(*, org_id: UUID, user_id: UUID) -> MembershipInfo | None:
    """A person's membership with what they may do by it, or None; one query."""
    found = membership_and_gate(org_id=org_id, user_id=user_id)
    return found[0] if found else None


def membership_and_gate(*, org_id: UUID, user_id: UUID) -> tuple[MembershipInfo, tuple[str, bool]] | None:
    """:func:`membership_get`, and what decides on entering (:func:`selectors.org_gate`); one query for both."""
    with connection.cursor() as cursor:
        cursor.execute(_MEMBERSHIP, [org_id, user_id, OrgStatus.DELETED.value])
        row = cursor.fetchone()
    if row is None:
        return None
    role, held, name, status, requires_mfa = row
    return MembershipInfo(org_id, user_id, role, held_of(role, held), name or role), (status, requires_mfa)


def capabilities_for(*, org_id: UUID, user_id: UUID) -> frozenset[str]:
    """All that a person may do in an organisation by their role; nothing where they are no member. One query."""
    found = membership_get(org_id=org_id, user_id=user_id)
    return found.capabilities if found else frozenset()


def members_with_role(*, org_id: UUID, role: str, limit: int) -> tuple[list[tuple[UUID, str]], int]:
    """The first members of a role by address, each with their id and what they are called; and how many there are."""
    with org_scope(org_id):
        rows = Membership.objects.filter(role=role)
        named = rows.order_by("user__email").values_list("user_id", "user__name", "user__email")[:limit]
        return [(user_id, name or email) for user_id, name, email in named], rows.count()
