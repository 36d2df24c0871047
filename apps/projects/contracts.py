"""What of projects travels to other apps."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from apps.accounts.grants import Grantable
from apps.core.clock import now

__all__ = [
    "LEAKED",
    "METADATA",
    "OUTSIDE",
    "PROJECT_RIGHTS",
    "SCOPES",
    "SCOPE_WORDS",
    "UNNAMED_SOURCE",
    "ApiKeyInfo",
    "IngestRules",
    "KeyContext",
    "KeyPolicyInfo",
    "ProjectInfo",
    "ProjectSettingsInfo",
]

# What can be given on one project.
PROJECT_RIGHTS = Grantable("project", ("project.read", "project.manage", "key.read", "key.manage", "usage.read"))
# What a key may be allowed to do.
SCOPES = ("ingest", "backfill", "read", "gateway", "evaluate", "admin")
# What each of them means, for whoever gives it.
SCOPE_WORDS = {
    "ingest": "Send usage",
    "read": "Read usage",
    "backfill": "Send usage of the past 400 days",
    "gateway": "Call Claude through the gateway",
    "evaluate": "Ask whether policies allow a call",
    "admin": "Act for other people",
}

# What settings may say of events outside them, of metadata, and a policy of keys that are reported leaked.
OUTSIDE = ("report", "refuse")
METADATA = ("keep", "tags", "drop")
LEAKED = ("revoke", "flag")
# The source of an event that names none.
UNNAMED_SOURCE = "sdk"


@dataclass(frozen=True, slots=True)
class IngestRules:
    """What a project's settings, and the environment of a key, ask of the events of a request.

    The fields mean what :class:`ProjectSettingsInfo` says. ``default_tags`` are sorted by key and hold the key's
    environment; ``hash_salt`` is of this project alone.
    """

    allowed_models: tuple[str, ...] = ()
    allowed_sources: frozenset[str] = frozenset()
    refuses: bool = False
    metadata: str = "keep"
    metadata_drop: frozenset[str] = frozenset()
    metadata_hash: frozenset[str] = frozenset()
    hash_salt: str = field(default="", repr=False)
    email_attribution: bool = True
    default_tags: tuple[tuple[str, str], ...] = ()

    @property
    def touches_metadata(self) -> bool:
        """Whether metadata is kept otherwise than as it came."""
        return self.metadata != "keep" or bool(self.metadata_drop or self.metadata_hash)

    @property
    def only_tags(self) -> bool:
        """Whether they do no more than give tags: those of a key with an environment, mostly."""
        return not (self.allowed_models or self.allowed_sources or self.touches_metadata)


@dataclass(frozen=True, slots=True)
class KeyContext:
    """An authenticated key, all that the hot paths need of it.

    ``team_id`` is the key's own team, ``project_team_id`` its project's. ``rate_limit_per_minute`` None means the
    default limit; ``unlimited`` none at all. ``rules`` is None where the project's settings ask nothing of events.
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
    environment: str = ""
    allowed_ips: tuple[str, ...] = ()
    rules: IngestRules | None = None


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
    """A key as it is listed: never the token.

    ``owner_id`` None makes it a service account, whoever made it. ``environment`` "" is none, ``allowed_ips`` () are
    all addresses. ``replaced_by_id`` is its successor. ``version`` changes with whatever somebody may change.
    """

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
    environment: str = ""
    allowed_ips: tuple[str, ...] = ()
    last_used_ip: str | None = None
    last_used_agent: str = ""
    created_by_id: UUID | None = None
    replaced_by_id: UUID | None = None
    leaked_at: datetime | None = None
    version: str = ""

    @property
    def is_service_account(self) -> bool:
        """Whether it is a key without a person."""
        return self.owner_id is None

    @property
    def state(self) -> str:
        """``works``, ``revoked`` or ``expired``, as of now; its project and organisation are another matter."""
        if self.revoked_at is not None and self.revoked_at <= now():
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now() else "works"


@dataclass(frozen=True, slots=True)
class ProjectSettingsInfo:
    """What a project asks of its events at ingest, and the environments its keys may be of.

    - ``allowed_models``: patterns of model names, ``*`` standing for any characters; () is every model. An event
      without a model is always allowed.
    - ``allowed_sources``: what an event's ``source`` may be, ``sdk`` for one that names none; () is every source.
    - ``outside``: an event outside these is counted and told of (``report``), or rejected (``refuse``).
    - ``raw_retention_days``: how many days raw events are kept, None as long as the organisation says, never longer.
    - ``metadata``: kept, kept where it is a tag key (``tags``), or dropped (``drop``); ``metadata_drop`` are keys that
      are dropped whatever else holds, ``metadata_hash`` keys whose values are kept as a hash.
    - ``email_attribution``: whether telemetry's e-mail addresses and names find the person; else it is the key's owner.
    - ``default_tags``: values of tag keys for events that lack them.
    - ``version`` 0 is that of a project whose settings nobody has changed.
    """

    project_id: UUID
    org_id: UUID
    allowed_models: tuple[str, ...]
    allowed_sources: tuple[str, ...]
    outside: Literal["report", "refuse"]
    raw_retention_days: int | None
    metadata: Literal["keep", "tags", "drop"]
    metadata_drop: tuple[str, ...]
    metadata_hash: tuple[str, ...]
    email_attribution: bool
    default_tags: dict[str, str]
    environments: tuple[str, ...]
    version: int
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyPolicyInfo:
    """What an organisation asks of all its keys.

    ``max_life_days`` None is no longest life. ``leaked_keys`` says what becomes of one that is reported leaked: it is
    revoked at once, or only flagged, and told of in either case.
    """

    org_id: UUID
    max_life_days: int | None
    leaked_keys: Literal["revoke", "flag"]
    version: int
