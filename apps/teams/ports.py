"""What teams asks of the apps above it.

``place_checks`` are asked before a person puts another (or themselves) into a team, or invites them to it: whoever is
in a team may have rights by it, which nobody may give who does not hold them. Each raises :class:`PermissionDenied`
where it is so.
"""

from collections.abc import Callable
from uuid import UUID

__all__ = ["PlaceCheck", "check_place", "place_checks"]

# (organisation, team, what whoever comes into it may do by their role, who puts them there)
PlaceCheck = Callable[[UUID, UUID, frozenset[str], UUID], None]

place_checks: list[PlaceCheck] = []


def check_place(org_id: UUID, team_id: UUID, held: frozenset[str], by_user_id: UUID | None) -> None:
    """Ask them all; ``by_user_id`` None is the system, which may."""
    if by_user_id is not None:
        for check in place_checks:
            check(org_id, team_id, held, by_user_id)
