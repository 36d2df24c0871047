"""What of accounts travels to other apps."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

__all__ = ["AccessReviewInfo", "MemberInfo", "MembershipInfo", "OrgInfo", "OwnOrg", "RoleInfo"]


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
    plan: str = "free"
    requires_mfa: bool = False
    access_review_every: str = "quarter"


@dataclass(frozen=True, slots=True)
class MembershipInfo:
    """A person's place in an organisation, and what they may do there by their role.

    ``role_name`` is what the role is called in a sentence; ``role`` is the word it is kept under.
    """

    org_id: UUID
    user_id: UUID
    role: str
    capabilities: frozenset[str] = frozenset()
    role_name: str = ""


@dataclass(frozen=True, slots=True)
class RoleInfo:
    """A role: a built-in one (without ``id``) or one that the organisation has made.

    ``key`` is what memberships name it by. One role stands above another where it holds all that the other does.
    """

    key: str
    name: str
    description: str
    capabilities: frozenset[str]
    id: UUID | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def built_in(self) -> bool:
        return self.id is None

    @property
    def label(self) -> str:
        """What it is called in a sentence: ``developer``, ``Release manager``."""
        return self.key if self.built_in else self.name

    @property
    def rank(self) -> int:
        """How much it holds: where one role stands above another its number is higher, never the other way round."""
        return len(self.capabilities)


@dataclass(frozen=True, slots=True)
class AccessReviewInfo:
    """A review of access that somebody has confirmed; ``counts`` is how many of each kind there were."""

    id: UUID
    reviewed_at: datetime
    reviewer_id: UUID | None
    reviewer: str
    note: str
    counts: dict[str, int]
    next_due: date


@dataclass(frozen=True, slots=True)
class OwnOrg:
    """One of a person's organisations, a deleted one too: ``erase_at`` is when it goes for ever, None where it lives.

    ``export_id`` is an export that they asked for and can still fetch.
    """

    id: UUID
    name: str
    slug: str
    status: str
    role: str
    is_default: bool
    erase_at: datetime | None
    can_restore: bool
    export_id: UUID | None

    @property
    def is_deleted(self) -> bool:
        return self.status == "deleted"


@dataclass(frozen=True, slots=True)
class MemberInfo:
    """A member with their name and address; ``last_login`` is their last sign-in anywhere, None where none is known."""

    user_id: UUID
    email: str
    name: str
    role: str
    joined_at: datetime
    last_login: datetime | None = None
    # What a role that the organisation made is called; empty for built-in ones.
    custom_role: str = ""
    # Whether their account is open.
    is_active: bool = True

    @property
    def label(self) -> str:
        return self.name or self.email

    @property
    def role_name(self) -> str:
        """The role as a table shows it: ``Developer``, ``Release manager``."""
        return self.custom_role or self.role.capitalize()
