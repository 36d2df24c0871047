"""What accounts asks of higher apps."""

from typing import Protocol
from uuid import UUID

from apps.core.ports import Port

__all__ = ["KeysOfMembers", "PromisedSeats", "keys_of_members", "promised_seats"]


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
