"""Which roles a provider may give: any of the organisation's but owner, which is given by owners alone."""

from collections.abc import Iterable
from uuid import UUID

from apps.accounts.permissions import ROLE_CAPABILITIES
from apps.core.errors import ValidationFailed

__all__ = ["OWNER", "check_role", "highest", "roles_to_give"]

OWNER = "owner"


def roles_to_give(org_id: UUID) -> list[str]:
    """The roles that a connection or a mapping may give."""
    return [role for role in ROLE_CAPABILITIES if role != OWNER]


def check_role(org_id: UUID, role: str, pointer: str) -> None:
    """Refuse a role that is none of the organisation's, or that no provider may give."""
    if role not in roles_to_give(org_id):
        detail = "Owners are made by owners, never by a provider" if role == OWNER else "There is no such role"
        raise ValidationFailed("The role is not valid", errors=[{"pointer": pointer, "detail": detail}])


def highest(org_id: UUID, roles: Iterable[str]) -> str | None:
    """The one of the roles that may do most, of those that a provider may give; by name where two may as much."""
    known = [role for role in set(roles) if role in roles_to_give(org_id)]
    return max(sorted(known), key=lambda role: len(ROLE_CAPABILITIES[role]), default=None)
