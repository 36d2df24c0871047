"""The key that an import's events count under."""

from uuid import UUID

from apps.core import clock
from apps.core.database import lock_org
from apps.core.errors import Conflict, ValidationFailed
from apps.projects import selectors as project_reads
from apps.projects import services as projects
from apps.projects.contracts import ApiKeyInfo, KeyContext
from apps.usage.models import Import

__all__ = ["KEY_NAME", "KeyGone", "key_context", "key_for_imports", "key_of_project"]

KEY_NAME = "Imports"
_SCOPES = ("backfill", "ingest")


class KeyGone(Exception):
    """The key may not be used; the message is a sentence for people. ``is_final`` where it never may again."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


def key_of_project(*, org_id: UUID, project_id: UUID, key: str) -> ApiKeyInfo:
    """A living key of the project by id, prefix or name; :class:`ValidationFailed` where none or several fit."""
    infos = [project_reads.key_info(row) for row in project_reads.key_list(org_id=org_id, project_id=project_id)]
    found = [info for info in infos if key in (str(info.id), info.prefix, info.name) and not _dead(info)]
    if len(found) != 1:
        what = "No living key" if not found else "More than one key"
        raise ValidationFailed(
            f"{what} of this project has the id, prefix or name {key!r}",
            errors=[{"pointer": "key_id", "detail": "a key of the project"}],
        )
    return found[0]


def key_for_imports(*, org_id: UUID, project_id: UUID) -> UUID:
    """The project's key "Imports", made when first needed. Its token is thrown away: nobody can send with it.

    Call it in a transaction.
    """
    if project_reads.project_get(org_id=org_id, project_id=project_id).archived_at is not None:
        raise Conflict("The project is archived", code="project_archived")
    lock_org("usage-import-key", org_id)
    for row in project_reads.key_list(org_id=org_id, project_id=project_id):
        info = project_reads.key_info(row)
        if info.name == KEY_NAME and set(info.scopes) == set(_SCOPES) and not _dead(info):
            return info.id
    made, _ = projects.create_api_key(org_id=org_id, project_id=project_id, name=KEY_NAME, scopes=_SCOPES)
    return made.id


def _dead(info: ApiKeyInfo) -> bool:
    now = clock.now()
    return any(end is not None and end <= now for end in (info.revoked_at, info.expires_at))


def key_context(row: Import) -> KeyContext:
    """What ingest needs to know of an import's key, with the right to write the past; :class:`KeyGone` without it."""
    keys = project_reads.key_list(org_id=row.org_id, project_id=row.project_id).select_related("project__settings")
    found = keys.filter(pk=row.key_id).first()
    if found is None or _dead(info := project_reads.key_info(found)):
        raise KeyGone("The key that its events count under was revoked or has expired", is_final=True)
    project = project_reads.project_get(org_id=row.org_id, project_id=row.project_id)
    if project.archived_at is not None:
        raise KeyGone("The project was archived", is_final=False)
    return KeyContext(
        key_id=info.id, org_id=row.org_id, project_id=row.project_id, name=info.name, prefix=info.prefix,
        scopes=frozenset(_SCOPES), owner_id=info.owner_id, team_id=info.team_id, project_team_id=project.team_id,
        rate_limit_per_minute=None, unlimited=True, environment=info.environment,
        rules=project_reads.rules_for(getattr(found.project, "settings", None), info.environment),
    )  # fmt: skip
