"""Who an event belongs to: person and team (docs: "Attribution").

- person: ``user_id`` when a member of the organisation, else the address telemetry names when it is a member's
  verified one, else an unclaimed person for it, else the key's owner.
- team: the key's, else the project's, else the person's primary team, else none.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID, uuid5

from django.db import connection

from apps.accounts import selectors as accounts
from apps.core.asking import Question, Rows
from apps.core.database import read_often
from apps.core.meanwhile import meanwhile
from apps.core.tenancy import org_scope, system_scope
from apps.projects.contracts import KeyContext
from apps.teams import selectors as teams
from apps.usage.contracts import PersonRef
from apps.usage.ingest.parse import parse_uuid
from apps.usage.models import DirectoryChange

__all__ = [
    "Directory",
    "directory_asked",
    "directory_changed",
    "directory_heard",
    "directory_of",
    "forget_directories",
    "forget_directory_changes",
    "is_directory_young",
]

# An organisation's people, teams and tags are kept here as a copy, which the bus refreshes: what changes them is told
# there, a row of `usage_directory_change` says so to every process, and each has looked for such rows so lately. After
# half of that it does so meanwhile, so that a busy process has no request that waits for it.
LOOK_SECONDS = 0.4
# How old the copy may grow where nothing is told. Attribution is fixed at ingest, so this bounds how long after a
# change events may still be counted under the former state. With many organisations it grows, so that no process reads
# more than some 4 of them a second. At that age it is read anew meanwhile, at twice that before it is used.
MIN_AGE_SECONDS = 5.0
MAX_AGE_SECONDS = 600.0
LOADS_A_SECOND = 4
MAX_ORGS = 20_000
# A change takes its number before it is committed, so one with a lower number may be seen after one with a higher: for
# so long numbers that were left out are asked for, up to so many of the latest.
_LATE_SECONDS, _MOST_LATE = 60.0, 1000
_PEOPLE = UUID("6f2c1a52-52d1-5d0c-9a3e-5d6f0c7d8e21")


@dataclass(slots=True)
class Directory:
    """What attribution needs to know of one organisation."""

    org_id: UUID
    # By the spelling in which nearly all events name them.
    members: dict[str, UUID]
    by_email: dict[str, UUID]
    primary_team: dict[UUID, UUID]
    tag_keys: tuple[str, ...]
    loaded_at: float = field(default_factory=time.monotonic)

    def person_of_user(self, user_id: str | None, key: KeyContext) -> UUID | None:
        """The person behind a ``user_id`` as sent, which is a UUID in any spelling."""
        return key.owner_id if user_id is None else self.member(user_id) or key.owner_id

    def member(self, user_id: str) -> UUID | None:
        """The member with this id, a UUID in any spelling."""
        found = self.members.get(user_id)
        if found is None and (parsed := parse_uuid(user_id)) is not None:
            found = self.members.get(str(parsed))
        return found

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
_looking = threading.Lock()
_looked_at = 0.0
# The highest number that was heard of, the lower ones that were not and since when, and how many changes were.
_heard: int | None = None
_left_out: dict[int, float] = {}
_changes = 0
_directories: dict[UUID, Directory] = {}


def directory_of(org_id: UUID) -> Directory:
    """The organisation's directory: a second old at most, or 10 where the bus is behind and organisations are few."""
    moment = time.monotonic()
    since = moment - _looked_at
    if since >= LOOK_SECONDS:
        _hear()
    elif since >= LOOK_SECONDS / 2:
        meanwhile("directories", _hear)
    found = _directories.get(org_id)
    if found is None:
        return _keep(org_id, None)
    age = min(MAX_AGE_SECONDS, max(MIN_AGE_SECONDS, len(_directories) / LOADS_A_SECOND))
    if moment - found.loaded_at >= 2 * age:
        return _keep(org_id, found)
    if moment - found.loaded_at >= age:
        meanwhile(org_id, lambda: _keep(org_id, found))
    return found


def is_directory_young(org_id: UUID) -> bool:
    """Whether :func:`directory_of` asks nobody."""
    moment = time.monotonic()
    found = _directories.get(org_id)
    age = min(MAX_AGE_SECONDS, max(MIN_AGE_SECONDS, len(_directories) / LOADS_A_SECOND))
    return found is not None and moment - _looked_at < 0.9 * LOOK_SECONDS and moment - found.loaded_at < 1.9 * age


def _keep(org_id: UUID, known: Directory | None) -> Directory:
    """Read it anew and keep it; not where a change was heard of meanwhile, which this may not have seen."""
    changes = _changes
    fresh = _directory_from(org_id, read_often(*_question_of(org_id)))
    _kept(org_id, known, changes, fresh)
    return fresh


def directory_asked(org_id: UUID) -> tuple[Question, int] | None:
    """What a loop asks of an organisation that this process does not know, and of how many changes it had heard.

    None where more would have to be asked first: then :func:`directory_of` does.
    """
    if time.monotonic() - _looked_at >= 0.9 * LOOK_SECONDS:
        return None
    return _question_of(org_id), _changes


def directory_heard(org_id: UUID, changes: int, rows: Rows) -> None:
    """Remember the answer to :func:`directory_asked`."""
    _kept(org_id, _directories.get(org_id), changes, _directory_from(org_id, rows))


def _kept(org_id: UUID, known: Directory | None, changes: int, fresh: Directory) -> None:
    with _lock:
        if _changes == changes and _directories.get(org_id) is known:
            if known is None and len(_directories) >= MAX_ORGS:
                _directories.clear()
            _directories[org_id] = fresh


def _hear() -> None:
    """Drop the copies of organisations that changed since the last look; one look at a time."""
    global _looked_at, _heard, _changes
    if not _looking.acquire(blocking=False):
        return
    try:
        moment = time.monotonic()
        with connection.cursor() as cursor:
            if _heard is None:
                # Nothing is copied yet. The latest numbers say which of them are still to come.
                cursor.execute(
                    "SELECT id, NULL::uuid FROM usage_directory_change"
                    " WHERE id > (SELECT max(id) - %s FROM usage_directory_change) ORDER BY id", [_MOST_LATE],
                )  # fmt: skip
            else:
                cursor.execute(
                    "SELECT id, org_id FROM usage_directory_change WHERE id > %s OR id = ANY(%s) ORDER BY id",
                    [_heard, list(_left_out)],
                )
            rows: list[tuple[int, UUID | None]] = cursor.fetchall()
        for number, org_id in rows:
            if _left_out.pop(number, None) is None:
                before = number - 1 if _heard is None else _heard
                _left_out.update(dict.fromkeys(range(max(before + 1, number - _MOST_LATE), number), moment))
                _heard = number
            with _lock:
                _changes += 1
                if org_id is not None:
                    _directories.pop(org_id, None)
        _heard = _heard or 0
        for number in [number for number, since in _left_out.items() if moment - since > _LATE_SECONDS]:
            del _left_out[number]
        for number in sorted(_left_out)[:-_MOST_LATE]:
            del _left_out[number]
        _looked_at = moment
    finally:
        _looking.release()


def directory_changed(org_id: UUID) -> None:
    """Have every process read an organisation's people and teams anew within a second, once this is committed."""
    with org_scope(org_id):
        DirectoryChange.objects.create(org_id=org_id)


def forget_directory_changes(before: datetime) -> int:
    """Delete what was told before a moment: copies are not that old. Returns how many rows went."""
    with system_scope("what every process has heard of is forgotten"):
        deleted: int = DirectoryChange.objects.filter(at__lt=before).delete()[0]
    return deleted


def forget_directories() -> None:
    """Read every organisation anew (tests, and services that change what attribution sees)."""
    with _lock:
        _directories.clear()


# In the order of the columns of the answer: members with their addresses, whose team is which, keys of tags.
_MEMBER, _TEAM, _TAG = 1, 2, 3


def _question_of(org_id: UUID) -> Question:
    """All in one: with many organisations it is asked often, and three answers are waited for thrice as long."""
    members, teams_of = accounts.member_addresses_question(org_id), teams.primary_teams_question(org_id)
    return Question(
        f"SELECT {_MEMBER}, m.*, NULL::uuid FROM ({members.statement}) AS m"  # noqa: S608 - statements of ours
        f" UNION ALL SELECT {_TEAM}, t.user_id, NULL, t.team_id FROM ({teams_of.statement}) AS t"
        f" UNION ALL SELECT {_TAG}, NULL, key, NULL FROM usage_tag_key WHERE org_id = %s",
        [*members.values, *teams_of.values, org_id],
    )


def _directory_from(org_id: UUID, rows: Rows) -> Directory:
    return Directory(
        org_id=org_id,
        members={str(user_id): user_id for kind, user_id, _, _ in rows if kind == _MEMBER},
        by_email={email: user_id for kind, user_id, email, _ in rows if kind == _MEMBER and email},
        primary_team={user_id: team_id for kind, user_id, _, team_id in rows if kind == _TEAM},
        tag_keys=tuple(sorted(key for kind, _, key, _ in rows if kind == _TAG)),
    )
