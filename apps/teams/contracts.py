"""What of teams travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["TeamInfo"]


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
