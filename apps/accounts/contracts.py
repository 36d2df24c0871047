"""What of accounts travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

__all__ = ["MemberInfo", "MembershipInfo", "OrgInfo"]


@dataclass(frozen=True, slots=True)
class OrgInfo:
    """An organisation; ``timezone`` is an IANA name, ``status`` active, suspended or deleted."""

    id: UUID
    name: str
    slug: str
    timezone: str
    status: str
    raw_retention_days: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class MembershipInfo:
    """A person's place in an organisation."""

    org_id: UUID
    user_id: UUID
    role: str


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member with their name and address; ``last_login`` is their last sign-in anywhere, None where none is known."""

    user_id: UUID
    email: str
    name: str
    role: str
    joined_at: datetime
    last_login: datetime | None = None

    @property
    def label(self) -> str:
        return self.name or self.email
