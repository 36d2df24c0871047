"""Changing what a project asks of its events, and an organisation of its keys."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from apps.accounts.selectors import org_get
from apps.audit.services import record
from apps.core.clock import now
from apps.core.crypto import new_token
from apps.core.errors import Conflict, NotFound
from apps.core.etags import require_version
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.projects.checks import invalid
from apps.projects.contracts import LEAKED, METADATA, OUTSIDE, KeyPolicyInfo, ProjectSettingsInfo
from apps.projects.models import ApiKey, KeyPolicy, Project, ProjectSettings
from apps.projects.rules import ENVIRONMENT_TAG, key_policy_get, settings_info
from apps.projects.selectors import forget_keys

__all__ = ["CHANGEABLE", "LONGEST_LIFE_DAYS", "update_key_policy", "update_project_settings"]

CHANGEABLE = (
    "allowed_models", "allowed_sources", "outside", "raw_retention_days", "metadata", "metadata_drop", "metadata_hash",
    "email_attribution", "default_tags", "environments",
)  # fmt: skip
MAX_ITEMS, MAX_ENVIRONMENTS, MAX_TAGS = 100, 20, 20
LONGEST_LIFE_DAYS = 3650
# Lengths of single items. A tag's value is as long as attribution keeps of one.
_ITEM = {"allowed_models": 200, "allowed_sources": 64, "metadata_drop": 100, "metadata_hash": 100}
_TAG_VALUE = 200
_ENVIRONMENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@transaction.atomic
def update_project_settings(
    *, org_id: UUID, project_id: UUID, changes: dict[str, Any], if_match: str | None = None
) -> ProjectSettingsInfo:
    """Change some of :data:`CHANGEABLE`, each given whole; seen by every process within a second.

    What was counted stays as it was. An environment that a living key is of cannot be taken away (:class:`Conflict`).
    ``if_match`` is the header of that name.
    """
    with org_scope(org_id):
        project = Project.objects.select_for_update().filter(pk=project_id).first()
        if project is None:
            raise NotFound()
        row = ProjectSettings.objects.filter(pk=project_id).first() or ProjectSettings(
            org_id=org_id, project_id=project_id
        )
        require_version(if_match, row.version)
        changes = _checked(row, changes)
        changes = {name: value for name, value in changes.items() if getattr(row, name) != value}
        if not changes:
            return settings_info(row)
        before = {name: getattr(row, name) for name in changes}
        for name, value in changes.items():
            setattr(row, name, value)
        if row.metadata_hash and not row.metadata_salt:
            row.metadata_salt = new_token()
        row.version += 1
        row.save()
        record(
            action="project.settings_changed", org_id=org_id, target_type="project", target_id=project_id,
            target_label=project.name, before=before, after=changes,
        )  # fmt: skip
        publish(
            type="project.settings_changed", org_id=org_id,
            data={
                "project_id": str(project_id), "changed": sorted(changes), "tag_keys": sorted(row.default_tags),
            },
        )  # fmt: skip
        transaction.on_commit(forget_keys)
        return settings_info(row)


def _checked(row: ProjectSettings, changes: dict[str, Any]) -> dict[str, Any]:
    out = dict(changes)
    if unknown := sorted(set(changes) - set(CHANGEABLE)):
        raise invalid("settings", f"/{unknown[0]}", "This is not a setting")
    for name, longest in _ITEM.items():
        if name in changes:
            out[name] = _items(name, changes[name], longest)
    if "environments" in changes:
        out["environments"] = _environments(row, changes["environments"])
    if "default_tags" in changes:
        out["default_tags"] = _tags(changes["default_tags"])
    for name, choices in (("outside", OUTSIDE), ("metadata", METADATA)):
        if name in changes and changes[name] not in choices:
            raise invalid("settings", f"/{name}", f"one of {', '.join(choices)}")
    days = changes.get("raw_retention_days")
    if days is not None:
        longest = org_get(row.org_id).raw_retention_days
        if not 1 <= days <= longest:
            raise invalid(
                "settings", "/raw_retention_days", f"From 1 to {longest} days, as the organisation keeps them"
            )
    return out


def _items(name: str, items: Sequence[str], longest: int) -> list[str]:
    if len(items) > MAX_ITEMS:
        raise invalid("settings", f"/{name}", f"At most {MAX_ITEMS}")
    found = dict.fromkeys(item.strip() for item in items)
    for index, item in enumerate(items):
        if not 1 <= len(item.strip()) <= longest or not item.isprintable():
            raise invalid("settings", f"/{name}/{index}", f"1 to {longest} characters")
    return list(found)


def _environments(row: ProjectSettings, items: Sequence[str]) -> list[str]:
    if len(items) > MAX_ENVIRONMENTS:
        raise invalid("settings", "/environments", f"At most {MAX_ENVIRONMENTS}")
    for index, item in enumerate(items):
        if not _ENVIRONMENT.fullmatch(item):
            detail = "Lower-case letters, digits, dots, hyphens and underscores, 40 at most, a letter or digit first"
            raise invalid("settings", f"/environments/{index}", detail)
    kept = list(dict.fromkeys(items))
    living = Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now()))
    used = ApiKey.objects.filter(living, project_id=row.project_id).exclude(environment__in=["", *kept])
    if key := used.order_by("created_at").first():
        raise Conflict(f"Key {key.name} is of {key.environment}; change or revoke it first", code="environment_in_use")
    return kept


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    if len(tags) > MAX_TAGS:
        raise invalid("settings", "/default_tags", f"At most {MAX_TAGS}")
    for key, value in tags.items():
        where = "/default_tags/" + key.replace("~", "~0").replace("/", "~1")
        if not 1 <= len(key.strip()) <= 100 or key != key.strip() or not key.isprintable():
            raise invalid("settings", where, "A tag key has 1 to 100 characters")
        if key == ENVIRONMENT_TAG:
            raise invalid("settings", where, "The environment of a key says this")
        if not 1 <= len(value) <= _TAG_VALUE or not value.isprintable():
            raise invalid("settings", where, f"A value has 1 to {_TAG_VALUE} characters")
    return dict(tags)


@transaction.atomic
def update_key_policy(*, org_id: UUID, changes: dict[str, Any], if_match: str | None = None) -> KeyPolicyInfo:
    """Change ``max_life_days`` or ``leaked_keys``. Keys that exist stay as they are; new ones obey."""
    with org_scope(org_id):
        KeyPolicy.objects.bulk_create([KeyPolicy(org_id=org_id)], ignore_conflicts=True)
        row = KeyPolicy.objects.select_for_update().get(pk=org_id)
        require_version(if_match, row.version)
        days = changes.get("max_life_days")
        if days is not None and not 1 <= days <= LONGEST_LIFE_DAYS:
            raise invalid("policy", "/max_life_days", f"From 1 to {LONGEST_LIFE_DAYS:,} days")
        if changes.get("leaked_keys", "flag") not in LEAKED:
            raise invalid("policy", "/leaked_keys", f"one of {', '.join(LEAKED)}")
        changes = {
            name: changes[name]
            for name in ("max_life_days", "leaked_keys")
            if name in changes and getattr(row, name) != changes[name]
        }
        if changes:
            before = {name: getattr(row, name) for name in changes}
            for name, value in changes.items():
                setattr(row, name, value)
            row.version += 1
            row.save()
            record(
                action="key.policy_changed", org_id=org_id, target_type="organization", target_id=org_id,
                target_label="key policy", before=before, after=changes,
            )  # fmt: skip
            publish(type="key.policy_changed", org_id=org_id, data={"org_id": str(org_id), "changed": sorted(changes)})
    return key_policy_get(org_id)
