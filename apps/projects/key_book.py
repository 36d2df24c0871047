"""All keys of an organisation, and which of them are worth a look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from apps.core.clock import now
from apps.core.tenancy import org_scope
from apps.identity.selectors import users_by_ids
from apps.projects import selectors
from apps.projects.contracts import ApiKeyInfo, KeyPolicyInfo
from apps.projects.models import Project
from apps.projects.reminders import REMINDERS

__all__ = ["FILTERS", "KeyFilter", "KeyRow", "key_rows", "words_of_filter"]

# A key that nobody used for so long is worth a question.
UNUSED = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key with what belongs to it; ``owner`` is None for a service account, ``state`` counts its project in."""

    key: ApiKeyInfo
    project: str
    project_slug: str
    state: str
    owner: str | None
    refused: int
    refused_why: str

    @property
    def works(self) -> bool:
        return self.state == "works"


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """``holds`` says whether a key is shown; ``label`` names the choice, ``empty`` stands where there is none."""

    label: str
    empty: str
    holds: Callable[[KeyRow, KeyPolicyInfo], bool]


def _is_unused(row: KeyRow, policy: KeyPolicyInfo) -> bool:
    used = row.key.last_used_at or row.key.created_at
    return row.works and used < now() - UNUSED


def _is_ending(row: KeyRow, policy: KeyPolicyInfo) -> bool:
    ends = row.key.expires_at
    return row.works and ends is not None and ends <= now() + timedelta(days=REMINDERS[0])


def _is_beyond(row: KeyRow, policy: KeyPolicyInfo) -> bool:
    """Made before the policy, and living longer than it allows from now on."""
    days, ends = policy.max_life_days, row.key.expires_at
    return row.works and days is not None and (ends is None or ends > now() + timedelta(days=days))


FILTERS = {
    "works": KeyFilter("Working", "No key works.", lambda row, _: row.works),
    "unused": KeyFilter("Unused", "Every working key was used in the last 90 days.", _is_unused),
    "ending": KeyFilter("Ending", "No key ends in the next 14 days.", _is_ending),
    "service": KeyFilter(
        "Without a person", "There are no service accounts.", lambda row, _: row.works and row.key.is_service_account
    ),
    "beyond": KeyFilter("Beyond the policy", "Every working key obeys the policy.", _is_beyond),
    "refused": KeyFilter("Refused", "No key was refused.", lambda row, _: row.refused > 0),
    "leaked": KeyFilter("Leaked", "No key was reported as leaked.", lambda row, _: row.key.leaked_at is not None),
}


def words_of_filter(name: str) -> KeyFilter | None:
    """The choice of this name; None shows all."""
    return FILTERS.get(name)


def key_rows(org_id: UUID) -> list[KeyRow]:
    """Every key of the organisation, newest first; four queries however many there are."""
    keys = [selectors.key_info(key) for key in selectors.key_list(org_id=org_id).order_by("-created_at", "id")]
    people = users_by_ids({key.owner_id for key in keys if key.owner_id})
    refused = selectors.key_rejections(org_id)
    with org_scope(org_id):
        projects = {project.pk: project for project in Project.objects.all()}
    rows = []
    for key in keys:
        project, owner = projects[key.project_id], people.get(key.owner_id) if key.owner_id else None
        reason, times = refused.get(key.id, ("", 0))
        state = "archived" if project.archived_at is not None and key.state == "works" else key.state
        label = owner.label if owner else None
        rows.append(KeyRow(key, project.name, project.slug, state, label, times, reason))
    return rows
