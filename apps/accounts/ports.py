"""What accounts asks of the apps above it.

``role_uses`` is what names roles besides memberships: invitations that wait, groups of a provider. Each tells how many
there are of a role, and puts another in its place when it goes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from apps.core.ports import Port

__all__ = [
    "KeysOfMembers",
    "PromisedSeats",
    "RoleUse",
    "keys_of_members",
    "promised_seats",
    "register_role_use",
    "role_uses",
]


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


class PromisedSeats(Protocol):
    """Seats that nobody sits on yet (filled by teams)."""

    def promised(self, org_id: UUID) -> int:
        """How many open invitations the organisation has."""


class KeysOfMembers(Protocol):
    """What becomes of a person's keys when they leave an organisation (filled by projects)."""

    def count(self, org_id: UUID, user_id: UUID) -> int:
        """How many working keys of the organisation are theirs."""

    def end(self, org_id: UUID, user_id: UUID, reason: str) -> int:
        """Revoke them, in the caller's transaction; how many."""

    def hand_over(self, org_id: UUID, user_id: UUID, to_user_id: UUID) -> int:
        """Make another member their owner, in the caller's transaction; how many."""


class _NonePromised:
    def promised(self, org_id: UUID) -> int:
        return 0


class _NoKeys:
    def count(self, org_id: UUID, user_id: UUID) -> int:
        return 0

    def end(self, org_id: UUID, user_id: UUID, reason: str) -> int:
        return 0

    def hand_over(self, org_id: UUID, user_id: UUID, to_user_id: UUID) -> int:
        return 0


promised_seats: Port[PromisedSeats] = Port("promised_seats", _NonePromised())
keys_of_members: Port[KeysOfMembers] = Port("keys_of_members", _NoKeys())
