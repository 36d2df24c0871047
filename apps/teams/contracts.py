"""What of teams travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.accounts.grants import Grantable

__all__ = ["TEAM_RIGHTS", "TeamInfo"]

# What can be given on one team.
TEAM_RIGHTS = Grantable("team", ("team.read", "team.manage"))


@dataclass(frozen=True, slots=True)
class TeamInfo:
    """A team."""

    id: UUID
    org_id: UUID
    name: str
    slug: str
    parent_id: UUID | None
    created_at: datetime
    updated_at: datetime
