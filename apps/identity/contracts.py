"""What of identity travels to other apps."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

__all__ = ["FactorInfo", "FactorKind", "SessionInfo", "TokenPair", "UserInfo"]

FactorKind = Literal["totp", "security_key", "passkey"]


@dataclass(frozen=True, slots=True)
class UserInfo:
    """A person as others see them."""

    id: UUID
    email: str
    name: str
    is_active: bool = True
    email_verified: bool = False
    timezone: str = ""
    default_org_id: UUID | None = None

    @property
    def label(self) -> str:
        return self.name or self.email


@dataclass(frozen=True, slots=True)
class FactorInfo:
    """A second factor of a person; a passkey also signs in alone."""

    id: UUID
    kind: FactorKind
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One place where a person is signed in; ``current`` is the one that asks."""

    id: UUID
    kind: str
    device: str
    ip: str | None
    country: str
    methods: list[str]
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a sign-in over the API gives; ``expires_in`` is the access token's life in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - a scheme, not a secret
