"""What accounts asks of the apps above it.

``role_uses`` is what names roles besides memberships: invitations that wait, groups of a provider. Each tells how many
there are of a role, and puts another in its place when it goes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

__all__ = ["RoleUse", "register_role_use", "role_uses"]


@dataclass(frozen=True, slots=True)
class RoleUse:
    """Where a role is named: ``count(org_id, role)`` is how often, ``replace(org_id, role, other)`` changes them all.

    ``label`` says of what it is, in the plural: "invitations".
    """

    label: str
    count: Callable[[UUID, str], int]
    replace: Callable[[UUID, str, str], None]


role_uses: list[RoleUse] = []


def register_role_use(use: RoleUse) -> None:
    """Make a use known; called once, when the app starts."""
    role_uses.append(use)
