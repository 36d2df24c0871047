"""From the digest of a key to what it may: one bare statement, since with many organisations most keys come rarely."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from apps.core.asking import Question, Rows
from apps.core.clock import now
from apps.core.crypto import pepper_id
from apps.core.database import read_often
from apps.core.tenancy import org_scope
from apps.projects.contracts import KeyContext
from apps.projects.models import ApiKey, ProjectSettings
from apps.projects.rules import rules_for

__all__ = ["FoundKey", "find_key", "found_key", "keep_under_current_pepper", "key_question"]

# No scope: a key says which organisation it is of.
_FIND = (
    "SELECT k.id, k.org_id, k.project_id, k.name, k.prefix, k.scopes, k.owner_id, k.team_id, p.team_id,"
    " k.rate_limit_per_minute, k.environment, k.allowed_ips, k.pepper, k.expires_at, k.revoked_at, p.archived_at,"
    " o.status, EXISTS (SELECT 1 FROM projects_projectsettings s WHERE s.project_id = k.project_id)"
    " FROM projects_apikey k JOIN projects_project p ON p.id = k.project_id"
    " JOIN accounts_organization o ON o.id = k.org_id WHERE k.digest = ANY(%s) LIMIT 1"
)


@dataclass(frozen=True, slots=True)
class FoundKey:
    """A key as it is kept: what it may, why it does not work (empty where it does), when it ends by itself."""

    context: KeyContext
    why_dead: str
    ends: datetime | None
    pepper: str


def key_question(digests: Sequence[bytes]) -> Question:
    """What :func:`found_key` takes the answer to."""
    return Question(_FIND, [list(digests)])


def find_key(digests: Sequence[bytes]) -> FoundKey | None:
    """The key of one of these digests, dead or alive."""
    return found_key(read_often(*key_question(digests)))


def found_key(rows: Rows, *, may_ask: bool = True) -> FoundKey | None:
    """The key that was found, dead or alive.

    None as well where its project has settings of its own, which are asked for, and ``may_ask`` is not so.
    """
    if not rows or (rows[0][-1] and not may_ask):
        return None
    row = rows[0]
    key_id, org_id, project_id, name, prefix, scopes, owner_id, team_id, project_team_id, limit, environment = row[:11]
    allowed_ips, pepper, expires_at, revoked_at, archived_at, status, has_settings = row[11:]
    context = KeyContext(
        key_id=key_id,
        org_id=org_id,
        project_id=project_id,
        name=name,
        prefix=prefix,
        scopes=frozenset(scopes),
        owner_id=owner_id,
        team_id=team_id,
        project_team_id=project_team_id,
        rate_limit_per_minute=limit,
        unlimited=limit == 0,
        environment=environment,
        allowed_ips=tuple(allowed_ips),
        rules=rules_for(_settings(org_id, project_id) if has_settings else None, environment),
    )
    # Revoked with an overlap, it ends by itself as it does when it expires.
    ends = min((end for end in (expires_at, revoked_at) if end is not None), default=None)
    return FoundKey(context, _why_dead(revoked_at, expires_at, archived_at, status), ends, pepper)


def _settings(org_id: UUID, project_id: UUID) -> ProjectSettings | None:
    with org_scope(org_id):
        found: ProjectSettings | None = ProjectSettings.objects.filter(project_id=project_id).first()
    return found


def _why_dead(
    revoked_at: datetime | None, expires_at: datetime | None, archived_at: datetime | None, status: str
) -> str:
    moment = now()
    if revoked_at is not None and revoked_at <= moment:
        return "revoked"
    if expires_at is not None and expires_at <= moment:
        return "expired"
    if archived_at is not None:
        return "archived"
    return "" if status == "active" else "suspended"


def keep_under_current_pepper(found: FoundKey, digest: bytes) -> None:
    """A key that works is known by the current pepper from its first use on, so that an older one can go."""
    if found.pepper != pepper_id():
        with org_scope(found.context.org_id):
            ApiKey.objects.filter(pk=found.context.key_id).update(digest=digest, pepper=pepper_id())
