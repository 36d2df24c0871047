"""What of teams travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.accounts.grants import Grantable

__all__ = ["TEAM_RIGHTS", "InvitationInfo", "Seats", "TeamInfo"]

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


@dataclass(frozen=True, slots=True)
class InvitationInfo:
    """An invitation without its token; ``state`` is open, expired, accepted or revoked."""

    id: UUID
    org_id: UUID
    email: str
    role: str
    team_ids: tuple[UUID, ...]
    message: str
    invited_by_id: UUID | None
    state: str
    sendings: int
    sent_at: datetime
    expires_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Seats:
    """How many people the plan lets in (None: any number), how many are in, and how many are asked to come."""

    limit: int | None
    members: int
    invitations: int

    @property
    def free(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.members - self.invitations)
