"""Writes of projects and API keys."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts.grants import hold_roles_still
from apps.audit.services import record
from apps.core import ports
from apps.core.clock import now
from apps.core.context import current
from apps.core.crypto import pepper_id, token_digest
from apps.core.database import lock_org
from apps.core.errors import Conflict, NotFound, PermissionDenied
from apps.core.slugs import free_slug
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.projects import selectors
from apps.projects.checks import (
    check_environment,
    check_name,
    check_networks,
    check_owner,
    check_scopes,
    check_team,
    invalid,
)
from apps.projects.contracts import ApiKeyInfo, ProjectInfo
from apps.projects.grants import end_project_access, give_project_access
from apps.projects.key_changes import update_api_key
from apps.projects.leaks import report_leaked_keys
from apps.projects.life import end_within_policy
from apps.projects.models import ApiKey, Project
from apps.projects.permissions import require_keys
from apps.projects.selectors import KEY_PURPOSE, forget_keys
from apps.projects.settings_writes import update_key_policy, update_project_settings
from apps.projects.tokens import display_prefix, new_key

__all__ = [
    "archive_project",
    "create_api_key",
    "create_project",
    "end_project_access",
    "give_project_access",
    "report_leaked_keys",
    "revoke_api_key",
    "rotate_api_key",
    "unarchive_project",
    "update_api_key",
    "update_key_policy",
    "update_project",
    "update_project_settings",
]

# How long a rotated key goes on working beside its successor, unless said otherwise.
ROTATION_OVERLAP = timedelta(hours=24)
MAX_OVERLAP = timedelta(days=30)


# ---------------------------------------------------------------- projects
@transaction.atomic
def create_project(*, org_id: UUID, name: str, team_id: UUID | None = None) -> ProjectInfo:
    """Make a project; ``team_id`` must be a team of the organisation. The plan may limit how many there are."""
    with org_scope(org_id):
        lock_org("projects", org_id)
        check_name(name, "project")
        check_team(org_id, team_id)
        _check_room(org_id)
        slug = free_slug(name, lambda slug: Project.objects.filter(slug=slug).exists(), fallback="project")
        project = Project.objects.create(org_id=org_id, name=name.strip(), slug=slug, team_id=team_id)
        _tell(project, "project.created", after={"name": project.name, "slug": slug, "team_id": team_id})
        publish(type="project.created", org_id=org_id, data={"project_id": str(project.pk), "name": project.name})
        return selectors.project_info(project)


@transaction.atomic
def update_project(*, org_id: UUID, project_id: UUID, changes: dict[str, Any]) -> ProjectInfo:
    """Change ``name`` or ``team_id``; usage counted so far keeps its team."""
    with org_scope(org_id):
        project = _project(project_id, lock=True)
        if "name" in changes:
            check_name(changes["name"], "project")
        if "team_id" in changes:
            check_team(org_id, changes["team_id"])
        if "name" in changes:
            changes = {**changes, "name": changes["name"].strip()}
        changes = {name: value for name, value in changes.items() if getattr(project, name) != value}
        if not changes:
            return selectors.project_info(project)
        before = {name: getattr(project, name) for name in changes}
        for name, value in changes.items():
            setattr(project, name, value)
        project.save()
        _tell(project, "project.updated", before=before, after=changes)
        publish(type="project.updated", org_id=org_id, data={"project_id": str(project_id), "changed": sorted(changes)})
        transaction.on_commit(forget_keys)
        return selectors.project_info(project)


@transaction.atomic
def archive_project(*, org_id: UUID, project_id: UUID) -> None:
    """Archive a project: its keys stop working, its usage stays."""
    with org_scope(org_id):
        project = _project(project_id, lock=True)
        if project.archived_at is not None:
            return
        Project.objects.filter(pk=project_id).update(archived_at=now(), updated_at=now())
        _tell(project, "project.deleted", before={"archived": False}, after={"archived": True})
        publish(type="project.deleted", org_id=org_id, data={"project_id": str(project_id)})
        transaction.on_commit(forget_keys)


@transaction.atomic
def unarchive_project(*, org_id: UUID, project_id: UUID) -> ProjectInfo:
    """Take a project out of the archive: its keys work again, those that were not revoked and have not expired."""
    with org_scope(org_id):
        lock_org("projects", org_id)
        project = _project(project_id, lock=True)
        if project.archived_at is not None:
            _check_room(org_id)
            project.archived_at = None
            project.save()
            _tell(project, "project.restored", before={"archived": True}, after={"archived": False})
            publish(type="project.restored", org_id=org_id, data={"project_id": str(project_id)})
            transaction.on_commit(forget_keys)
        return selectors.project_info(project)


def _check_room(org_id: UUID) -> None:
    """Refuse one project more than the plan allows."""
    limit = ports.plan_limits.get().limit(org_id, "projects")
    if limit is not None and Project.objects.filter(archived_at__isnull=True).count() >= limit:
        raise PermissionDenied(f"The plan allows {limit} projects", code="plan_limit_reached")


def _project(project_id: UUID, *, lock: bool = False) -> Project:
    rows = Project.objects.filter(pk=project_id)
    project: Project | None = (rows.select_for_update() if lock else rows).first()
    if project is None:
        raise NotFound()
    return project


# ---------------------------------------------------------------- keys
@transaction.atomic
def create_api_key(
    *,
    org_id: UUID,
    project_id: UUID,
    name: str,
    scopes: Sequence[str],
    owner_id: UUID | None = None,
    team_id: UUID | None = None,
    expires_at: datetime | None = None,
    rate_limit_per_minute: int | None = None,
    environment: str = "",
    allowed_ips: Sequence[str] = (),
    by_user_id: UUID | None = None,
) -> tuple[ApiKeyInfo, str]:
    """Make a key of a project; returns it and the token, which is never to be had again.

    ``owner_id`` must be a member: what the key sends without a person counts as theirs; None makes a service account.
    ``expires_at`` None is never, or the longest that the organisation's policy allows. ``rate_limit_per_minute`` None
    is the default limit, 0 none. ``environment`` is one of the project's. ``allowed_ips`` are networks it may be used
    from. Whoever makes it (``by_user_id``; None: the system) must be allowed to, for this project and these rights.
    """
    with org_scope(org_id):
        # Whoever leaves in this moment takes the key with them, or is no owner any more.
        hold_roles_still(org_id)
        project = _project(project_id)
        require_keys(
            org_id=org_id, user_id=by_user_id, project_id=project_id, scopes=scopes,
            unlimited=rate_limit_per_minute == 0,
        )  # fmt: skip
        check_name(name, "key")
        check_scopes(scopes)
        check_team(org_id, team_id, "key")
        if project.archived_at is not None:
            raise Conflict("The project is archived", code="project_archived")
        check_owner(org_id, project_id, owner_id, by_user_id)
        check_environment(org_id, project_id, environment)
        if expires_at is not None and expires_at <= now():
            raise invalid("key", "/expires_at", "This is in the past")
        return _make(
            ApiKey(
                org_id=org_id,
                project=project,
                name=name.strip(),
                scopes=sorted(set(scopes)),
                owner_id=owner_id,
                team_id=team_id,
                expires_at=end_within_policy(org_id, expires_at),
                rate_limit_per_minute=rate_limit_per_minute,
                environment=environment,
                allowed_ips=check_networks(allowed_ips),
            )
        )


def _make(key: ApiKey) -> tuple[ApiKeyInfo, str]:
    token = new_key()
    key.prefix, key.digest, key.pepper = display_prefix(token), token_digest(token, KEY_PURPOSE), pepper_id()
    actor = current().actor
    key.created_by_id = actor.id if actor.kind in {"user", "staff"} else None
    key.save()
    after = {"name": key.name, "scopes": key.scopes, "expires_at": key.expires_at, "owner_id": key.owner_id}
    more = {"environment": key.environment, "allowed_ips": key.allowed_ips}
    _tell_key(key, "key.created", after={**after, **{name: value for name, value in more.items() if value}})
    publish(
        type="key.created", org_id=key.org_id,
        data={"key_id": str(key.pk), "project_id": str(key.project_id), "name": key.name},
    )  # fmt: skip
    return selectors.key_info(key), token


@transaction.atomic
def rotate_api_key(
    *,
    org_id: UUID,
    project_id: UUID,
    key_id: UUID,
    overlap: timedelta = ROTATION_OVERLAP,
    by_user_id: UUID | None = None,
) -> tuple[ApiKeyInfo, str]:
    """Replace a key by a new one with the same rights; the old one goes on for ``overlap``. Returns key and token.

    The new one lives as long as the old one was made to. One that was replaced already is not replaced again: its
    successor is.
    """
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise invalid("rotation", "/overlap_seconds", f"From 0 to {int(MAX_OVERLAP.total_seconds())} seconds")
    with org_scope(org_id):
        hold_roles_still(org_id)
        old = _key(project_id, key_id)
        require_keys(
            org_id=org_id, user_id=by_user_id, project_id=project_id, scopes=old.scopes,
            unlimited=old.rate_limit_per_minute == 0,
        )  # fmt: skip
        if old.revoked_at is not None:
            raise Conflict("A revoked key cannot be rotated; make a new one", code="key_revoked")
        if old.project.archived_at is not None:
            raise Conflict("The project is archived", code="project_archived")
        if old.replaced_by_id is not None:
            raise Conflict("This key was replaced already; replace the new one", code="key_replaced")
        life = old.expires_at - old.created_at if old.expires_at else None
        made = _make(
            ApiKey(
                org_id=org_id,
                project_id=project_id,
                name=old.name,
                scopes=old.scopes,
                owner_id=old.owner_id,
                team_id=old.team_id,
                expires_at=end_within_policy(org_id, now() + life if life else None, cut=True),
                rate_limit_per_minute=old.rate_limit_per_minute,
                environment=old.environment,
                allowed_ips=old.allowed_ips,
            )
        )
        until = now() + overlap
        ends = min(until, old.expires_at) if old.expires_at else until
        ApiKey.objects.filter(pk=old.pk).update(expires_at=ends, replaced_by_id=made[0].id, updated_at=now())
        _tell_key(
            old, "key.rotated", before={"expires_at": old.expires_at}, after={"expires_at": ends, "new_key": made[0].id}
        )
        publish(
            type="key.rotated", org_id=org_id,
            data={
                "key_id": str(old.pk), "project_id": str(project_id), "new_key_id": str(made[0].id), "ends_at": ends,
            },
        )  # fmt: skip
        transaction.on_commit(forget_keys)
        return made


@transaction.atomic
def revoke_api_key(*, org_id: UUID, project_id: UUID, key_id: UUID, by_user_id: UUID | None = None) -> None:
    """Revoke a key: dead on every process within a second. Repeating it is harmless."""
    with org_scope(org_id):
        key = _key(project_id, key_id)
        require_keys(org_id=org_id, user_id=by_user_id, project_id=project_id)
        if key.revoked_at is not None:
            return
        ApiKey.objects.filter(pk=key.pk).update(revoked_at=now(), updated_at=now())
        _tell_key(key, "key.revoked", before={"revoked": False}, after={"revoked": True})
        publish(type="key.revoked", org_id=org_id, data={"key_id": str(key.pk), "project_id": str(key.project_id)})
        transaction.on_commit(forget_keys)


def _key(project_id: UUID, key_id: UUID) -> ApiKey:
    rows = ApiKey.objects.select_for_update(of=("self",)).select_related("project")
    key: ApiKey | None = rows.filter(pk=key_id, project_id=project_id).first()
    if key is None:
        raise NotFound()
    return key


def _tell(project: Project, action: str, **details: Any) -> None:
    record(
        action=action, org_id=project.org_id, target_type="project", target_id=project.pk, target_label=project.name,
        **details,
    )  # fmt: skip


def _tell_key(key: ApiKey, action: str, **details: Any) -> None:
    record(action=action, org_id=key.org_id, target_type="api_key", target_id=key.pk, target_label=key.name, **details)
