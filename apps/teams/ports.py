"""What teams asks of the apps above it.

``place_checks`` are asked before a person puts another (or themselves) into a team: whoever is in a team may have
rights by it, which nobody may give who does not hold them. Each raises :class:`PermissionDenied` where it is so.
"""

from collections.abc import Callable
from uuid import UUID

__all__ = ["PlaceCheck", "place_checks"]

# (organisation, team, who comes into it, who puts them there)
PlaceCheck = Callable[[UUID, UUID, UUID, UUID], None]

place_checks: list[PlaceCheck] = []
