"""Which roles a provider may give: any of the organisation's but owner, which is given by owners alone."""

from collections.abc import Iterable
from uuid import UUID

from apps.accounts.contracts import RoleInfo
from apps.accounts.ports import RoleUse, register_role_use
from apps.accounts.selectors import roles_of_org
from apps.core.errors import ValidationFailed
from apps.core.tenancy import org_scope
from apps.sso.models import Connection, GroupMapping

__all__ = ["OWNER", "check_role", "highest", "register", "roles_to_give"]

OWNER = "owner"


def roles_to_give(org_id: UUID) -> dict[str, RoleInfo]:
    """The roles that a connection or a mapping may give, by their key."""
    return {role.key: role for role in roles_of_org(org_id) if role.key != OWNER}


def check_role(org_id: UUID, role: str, pointer: str) -> None:
    """Refuse a role that is none of the organisation's, or that no provider may give."""
    if role not in roles_to_give(org_id):
        detail = "Owners are made by owners, never by a provider" if role == OWNER else "There is no such role"
        raise ValidationFailed("The role is not valid", errors=[{"pointer": pointer, "detail": detail}])


def highest(org_id: UUID, roles: Iterable[str]) -> str | None:
    """The one of the roles that may do most, of those that a provider may give; by name where two may as much."""
    known = roles_to_give(org_id)
    return max(
        sorted(role for role in set(roles) if role in known),
        key=lambda role: len(known[role].capabilities),
        default=None,
    )


# ---------------------------------------------------------------- roles that go
def _connections(org_id: UUID, role: str) -> int:
    with org_scope(org_id):
        return int(Connection.objects.filter(default_role=role).count())


def _replace_in_connections(org_id: UUID, role: str, other: str) -> None:
    with org_scope(org_id):
        # Owner is no role that a provider gives: who deletes a role for it gives the least instead.
        Connection.objects.filter(default_role=role).update(default_role="viewer" if other == OWNER else other)


def _mappings(org_id: UUID, role: str) -> int:
    with org_scope(org_id):
        return int(GroupMapping.objects.filter(role=role).count())


def _replace_in_mappings(org_id: UUID, role: str, other: str) -> None:
    with org_scope(org_id):
        rows = GroupMapping.objects.filter(role=role)
        present = set(GroupMapping.objects.filter(role=other).values_list("group", "team_id"))
        for row in rows:
            if other == OWNER or (row.group, row.team_id) in present:
                row.delete()
            else:
                row.role = other
                row.save(update_fields=["role", "updated_at"])


def register() -> None:
    """Have the organisation's roles know that connections and mappings name them."""
    register_role_use(RoleUse("connections of single sign-on", _connections, _replace_in_connections))
    register_role_use(RoleUse("mappings of a provider's groups", _mappings, _replace_in_mappings))
