"""What travels of single sign-on: a provider's answer, and what pages and the API show."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

__all__ = ["Arrival", "ConnectionInfo", "DomainInfo", "ScimTokenInfo"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified answer of a provider: who it is (``subject``, for ever theirs), and what it says of them.

    ``groups`` is None where the provider said nothing of groups, so that they stay as they are. ``claims`` is all that
    was received, for whoever tests a connection; nothing is decided by it. ``authenticated_at`` is when the provider
    says that they last showed it a credential, None where it does not say.
    """

    subject: str
    email: str
    name: str = ""
    groups: tuple[str, ...] | None = None
    claims: dict[str, Any] = field(default_factory=dict)
    authenticated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DomainInfo:
    """A domain of an organisation; ``record`` is the TXT record's name, ``value`` what it must hold."""

    id: UUID
    org_id: UUID
    name: str
    record: str
    value: str
    verified_at: datetime | None
    checked_at: datetime | None
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection without its secrets."""

    id: UUID
    org_id: UUID
    name: str
    kind: str
    is_enabled: bool
    is_enforced: bool
    creates_members: bool
    default_role: str
    last_used_at: datetime | None
    tested_at: datetime | None
    metadata_checked_at: datetime | None
    metadata_failing_since: datetime | None
    metadata_problem: str
    created_at: datetime
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ScimTokenInfo:
    """A token of provisioning without its secret; ``state`` is ``works``, ``expired`` or ``revoked``."""

    id: UUID
    org_id: UUID
    name: str
    prefix: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
