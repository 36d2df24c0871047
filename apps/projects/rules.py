"""Reads of what a project asks of its events and an organisation of its keys."""

from collections.abc import Collection
from typing import Any, cast
from uuid import UUID

from django.db.models import Min

from apps.core.errors import NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.projects.contracts import IngestRules, KeyPolicyInfo, ProjectSettingsInfo
from apps.projects.models import KeyPolicy, Project, ProjectSettings

__all__ = [
    "ENVIRONMENT_TAG",
    "key_policy_get",
    "project_settings_get",
    "raw_retention_floor",
    "raw_retention_of_projects",
    "raw_retentions",
    "rules_for",
    "settings_info",
]

# The tag that a key's environment sets.
ENVIRONMENT_TAG = "environment"


def settings_info(row: ProjectSettings) -> ProjectSettingsInfo:
    """The contract of a row, saved or not."""
    return ProjectSettingsInfo(
        project_id=row.project_id,
        org_id=row.org_id,
        allowed_models=tuple(row.allowed_models),
        allowed_sources=tuple(row.allowed_sources),
        outside=cast(Any, str(row.outside)),
        raw_retention_days=row.raw_retention_days,
        metadata=cast(Any, str(row.metadata)),
        metadata_drop=tuple(row.metadata_drop),
        metadata_hash=tuple(row.metadata_hash),
        email_attribution=row.email_attribution,
        default_tags=dict(row.default_tags),
        environments=tuple(row.environments),
        version=row.version,
        updated_at=row.updated_at if row.version else None,
    )


def project_settings_get(*, org_id: UUID, project_id: UUID) -> ProjectSettingsInfo:
    """A project's settings, the defaults where nobody has changed any; :class:`NotFound` for no such project."""
    with org_scope(org_id):
        project = Project.objects.select_related("settings").filter(pk=project_id).first()
        if project is None:
            raise NotFound()
        found: ProjectSettings | None = getattr(project, "settings", None)
        return settings_info(found or ProjectSettings(org_id=org_id, project_id=project_id))


def key_policy_get(org_id: UUID) -> KeyPolicyInfo:
    """What an organisation asks of all its keys."""
    with org_scope(org_id):
        row = KeyPolicy.objects.filter(pk=org_id).first() or KeyPolicy(org_id=org_id)
    return KeyPolicyInfo(org_id, row.max_life_days, cast(Any, str(row.leaked_keys)), row.version)


def rules_for(found: ProjectSettings | None, environment: str) -> IngestRules | None:
    """What events under a key of a project with these settings and an environment are held to; None where nothing."""
    if found is None:
        return IngestRules(default_tags=((ENVIRONMENT_TAG, environment),)) if environment else None
    tags = {**found.default_tags, **({ENVIRONMENT_TAG: environment} if environment else {})}
    rules = IngestRules(
        allowed_models=tuple(found.allowed_models),
        allowed_sources=frozenset(found.allowed_sources),
        refuses=found.outside == ProjectSettings.Outside.REFUSE,
        metadata=str(found.metadata),
        metadata_drop=frozenset(found.metadata_drop),
        metadata_hash=frozenset(found.metadata_hash),
        hash_salt=found.metadata_salt or "",
        email_attribution=found.email_attribution,
        default_tags=tuple(sorted(tags.items())),
    )
    is_idle = not (
        rules.allowed_models or rules.allowed_sources or rules.touches_metadata or tags or not rules.email_attribution
    )
    return None if is_idle else rules


def raw_retention_of_projects(org_ids: Collection[UUID]) -> dict[UUID, dict[UUID, int]]:
    """By organisation, its projects that keep raw events for so many days of their own; for the drain."""
    found: dict[UUID, dict[UUID, int]] = {}
    with system_scope("the drain reads the retention of several organisations at once"):
        rows = ProjectSettings.objects.filter(org_id__in=org_ids, raw_retention_days__isnull=False)
        for org_id, project_id, days in rows.values_list("org_id", "project_id", "raw_retention_days"):
            found.setdefault(org_id, {})[project_id] = days
    return found


def raw_retention_floor(org_id: UUID) -> int | None:
    """The shortest time of its own that a project keeps raw events for, None where none has one."""
    with org_scope(org_id):
        found: int | None = ProjectSettings.objects.aggregate(least=Min("raw_retention_days"))["least"]
    return found


def raw_retentions() -> set[int]:
    """The days for which projects of any organisation keep raw events, where they have their own. In a system scope."""
    rows = ProjectSettings.objects.filter(raw_retention_days__isnull=False).order_by()
    return set(rows.values_list("raw_retention_days", flat=True).distinct())
