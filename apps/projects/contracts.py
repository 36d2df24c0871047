"""What of projects travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.accounts.grants import Grantable

__all__ = ["PROJECT_RIGHTS", "SCOPES", "ApiKeyInfo", "KeyContext", "ProjectInfo"]

# What can be given on one project.
PROJECT_RIGHTS = Grantable("project", ("project.read", "project.manage", "key.read", "key.manage", "usage.read"))
# What a key may be allowed to do.
SCOPES = ("ingest", "backfill", "read", "gateway", "evaluate", "admin")


@dataclass(frozen=True, slots=True)
class KeyContext:
    """An authenticated key, all that the hot paths need of it.

    ``team_id`` is the key's own team, ``project_team_id`` its project's. ``rate_limit_per_minute`` None means the
    default limit; ``unlimited`` none at all.
    """

    key_id: UUID
    org_id: UUID
    project_id: UUID
    name: str
    prefix: str
    scopes: frozenset[str]
    owner_id: UUID | None
    team_id: UUID | None
    project_team_id: UUID | None
    rate_limit_per_minute: int | None
    unlimited: bool


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """A project."""

    id: UUID
    org_id: UUID
    name: str
    slug: str
    team_id: UUID | None
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ApiKeyInfo:
    """A key as it is listed: never the token."""

    id: UUID
    org_id: UUID
    project_id: UUID
    name: str
    prefix: str
    scopes: tuple[str, ...]
    owner_id: UUID | None
    team_id: UUID | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    rate_limit_per_minute: int | None
