"""Who an event belongs to: person and team (docs: "Attribution").

- person: ``user_id`` when a member of the organisation, else the address telemetry names when it is a member's
  verified one, else an unclaimed person for it, else the key's owner.
- team: the key's, else the project's, else the person's primary team, else none.
"""

import threading
import time
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from apps.accounts import selectors as accounts
from apps.core.tenancy import org_scope
from apps.projects.contracts import KeyContext
from apps.teams import selectors as teams
from apps.usage.contracts import PersonRef
from apps.usage.models import TagKey

__all__ = ["Directory", "directory_of", "forget_directories"]

# How old an organisation's people, teams and tags may be here. Attribution is fixed at ingest, so this bounds how
# long after a change events may still be counted under the former state. With many organisations it grows, so that
# no process reads more than some 25 of them a second.
MIN_AGE_SECONDS = 5.0
MAX_AGE_SECONDS = 120.0
LOADS_A_SECOND = 25
MAX_ORGS = 20_000
_PEOPLE = UUID("6f2c1a52-52d1-5d0c-9a3e-5d6f0c7d8e21")


@dataclass(slots=True)
class Directory:
    """What attribution needs to know of one organisation."""

    org_id: UUID
    members: frozenset[UUID]
    by_email: dict[str, UUID]
    primary_team: dict[UUID, UUID]
    tag_keys: tuple[str, ...]
    loaded_at: float = field(default_factory=time.monotonic)

    def person_of_user(self, user_id: UUID | None, key: KeyContext) -> UUID | None:
        """The person behind a ``user_id`` as sent."""
        return user_id if user_id in self.members else key.owner_id

    def person_of_telemetry(
        self, email: str | None, name: str | None, key: KeyContext
    ) -> tuple[UUID | None, PersonRef | None]:
        """The person telemetry names, and the unclaimed one that has to exist for it."""
        address = (email or "").strip().lower()
        if address in self.by_email:
            return self.by_email[address], None
        label = (name or "").strip()
        if not address and not label:
            return key.owner_id, None
        person = PersonRef(uuid5(_PEOPLE, f"{self.org_id}/{address or '/' + label}"), address, label)
        return person.id, person

    def team_of(self, person: UUID | None, key: KeyContext) -> UUID | None:
        """The team of an event."""
        if key.team_id is not None:
            return key.team_id
        if key.project_team_id is not None:
            return key.project_team_id
        return self.primary_team.get(person) if person is not None else None


_lock = threading.Lock()
_directories: dict[UUID, Directory] = {}


def directory_of(org_id: UUID) -> Directory:
    """The organisation's directory, 5 seconds old at most while there are few organisations."""
    found = _directories.get(org_id)
    if found is not None:
        age = min(MAX_AGE_SECONDS, max(MIN_AGE_SECONDS, len(_directories) / LOADS_A_SECOND))
        if time.monotonic() - found.loaded_at < age:
            return found
    fresh = _load(org_id)
    with _lock:
        if len(_directories) >= MAX_ORGS:
            _directories.clear()
        _directories[org_id] = fresh
    return fresh


def forget_directories() -> None:
    """Read every organisation anew (tests, and services that change what attribution sees)."""
    with _lock:
        _directories.clear()


def _load(org_id: UUID) -> Directory:
    addresses = accounts.member_addresses(org_id)
    with org_scope(org_id):
        return Directory(
            org_id=org_id,
            members=frozenset(user_id for user_id, _ in addresses),
            by_email={email: user_id for user_id, email in addresses if email},
            primary_team=dict(teams.primary_team_map(org_id)),
            tag_keys=tuple(TagKey.objects.order_by("key").values_list("key", flat=True)),
        )
