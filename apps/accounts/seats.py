"""Seats: how many people the plan lets into an organisation, those who were asked to come among them."""

from uuid import UUID

from apps.accounts import selectors
from apps.accounts.ports import promised_seats
from apps.core import ports
from apps.core.database import lock_org
from apps.core.errors import PermissionDenied

__all__ = ["lock_seats", "require_seats"]


def lock_seats(org_id: UUID) -> None:
    """One transaction at a time that takes a seat. Taken before any row of the organisation, or two could wait for
    each other."""
    lock_org("seats", org_id)


def require_seats(*, org_id: UUID, wanted: int) -> None:
    """Refuse what the plan has no room for, saying how many seats there are and what takes them; needs the lock."""
    limit = ports.plan_limits.get().limit(org_id, "seats")
    if limit is None:
        return
    taken, promised = selectors.member_count(org_id), promised_seats.get().promised(org_id)
    if taken + promised + wanted <= limit:
        return
    seats, members, invitations = _count(limit, "seat"), _count(taken, "member"), _count(promised, "open invitation")
    more = f"{wanted} more {'is' if wanted == 1 else 'are'} wanted"
    detail = f"The plan allows {seats}; {members} and {invitations} take {taken + promised}, and {more}"
    extra = {"limit": limit, "members": taken, "invitations": promised, "wanted": wanted}
    raise PermissionDenied(detail, code="plan_limit_reached", extra=extra)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
