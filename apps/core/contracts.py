"""Frozen values that travel between apps."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

__all__ = ["ANONYMOUS", "Actor", "ActorKind", "system_actor"]

ActorKind = Literal["user", "key", "staff", "system", "anonymous"]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, an API key, staff, a background worker, or nobody known.

    ``org_id`` is the organisation that a key belongs to (None for people: they may have several).
    ``scopes`` are those of an API key; ``impersonator_id`` is the staff member behind a session taken over.
    ``authenticated_at`` is when the person last showed a credential in this sign-in, and ``methods`` what they
    showed in it (``password``, ``totp``, ``passkey``…); None and empty where it is not known, and for keys.
    """

    kind: ActorKind
    id: UUID | None = None
    label: str = ""
    org_id: UUID | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)
    ip: str | None = None
    user_agent: str = ""
    session_id: UUID | None = None
    impersonator_id: UUID | None = None
    authenticated_at: datetime | None = None
    methods: frozenset[str] = frozenset()

    @property
    def is_authenticated(self) -> bool:
        return self.kind != "anonymous"


ANONYMOUS = Actor(kind="anonymous")


def system_actor(label: str) -> Actor:
    """The actor of a background worker or a command, named after it."""
    return Actor(kind="system", label=label)
