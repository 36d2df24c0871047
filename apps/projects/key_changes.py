"""Changing a key that exists: all but what it may do and which project it is of."""

from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts.grants import hold_roles_still
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound
from apps.core.etags import require_version
from apps.core.tenancy import org_scope
from apps.events.services import publish
from apps.projects import selectors
from apps.projects.checks import check_environment, check_name, check_networks, check_owner, check_team, invalid
from apps.projects.contracts import ApiKeyInfo
from apps.projects.models import ApiKey
from apps.projects.permissions import require_keys
from apps.projects.selectors import forget_keys

__all__ = ["update_api_key"]

CHANGEABLE = ("name", "owner_id", "team_id", "environment", "allowed_ips", "rate_limit_per_minute", "expires_at")


@transaction.atomic
def update_api_key(
    *,
    org_id: UUID,
    project_id: UUID,
    key_id: UUID,
    changes: dict[str, Any],
    if_match: str | None = None,
    by_user_id: UUID | None = None,
) -> ApiKeyInfo:
    """Change some of :data:`CHANGEABLE`; seen by every process within a second. A life is shortened, never lengthened.

    ``if_match`` is the header of that name. Whoever changes it must be allowed to make such a key.
    """
    with org_scope(org_id):
        if "owner_id" in changes:
            hold_roles_still(org_id)
        rows = ApiKey.objects.select_for_update(of=("self",)).select_related("project")
        key = rows.filter(pk=key_id, project_id=project_id).first()
        if key is None:
            raise NotFound()
        lifts_limit = changes.get("rate_limit_per_minute", key.rate_limit_per_minute) == 0
        require_keys(org_id=org_id, user_id=by_user_id, project_id=project_id, scopes=key.scopes, unlimited=lifts_limit)
        require_version(if_match, selectors.key_info(key).version)
        if key.revoked_at is not None:
            raise Conflict("A revoked key stays as it was", code="key_revoked")
        changes = _checked(key, changes, by_user_id)
        changes = {name: value for name, value in changes.items() if getattr(key, name) != value}
        if not changes:
            return selectors.key_info(key)
        before = {name: getattr(key, name) for name in changes}
        for name, value in changes.items():
            setattr(key, name, value)
        key.updated_at = now()
        # Not the last use, which another process may be writing.
        key.save(update_fields=[*(name.removesuffix("_id") for name in changes), "updated_at"])
        record(
            action="key.updated", org_id=org_id, target_type="api_key", target_id=key.pk, target_label=key.name,
            before=before, after=changes,
        )  # fmt: skip
        publish(
            type="key.updated", org_id=org_id,
            data={"key_id": str(key.pk), "project_id": str(project_id), "changed": sorted(changes)},
        )  # fmt: skip
        transaction.on_commit(forget_keys)
        return selectors.key_info(key)


def _checked(key: ApiKey, changes: dict[str, Any], by_user_id: UUID | None) -> dict[str, Any]:
    out = dict(changes)
    if unknown := sorted(set(changes) - set(CHANGEABLE)):
        raise invalid("key", f"/{unknown[0]}", "This cannot be changed")
    if "name" in changes:
        check_name(changes["name"], "key")
        out["name"] = changes["name"].strip()
    if "owner_id" in changes and changes["owner_id"] != key.owner_id:
        check_owner(key.org_id, key.project_id, changes["owner_id"], by_user_id)
    if "team_id" in changes:
        check_team(key.org_id, changes["team_id"], "key")
    if "environment" in changes and changes["environment"] != key.environment:
        check_environment(key.org_id, key.project_id, changes["environment"])
    if "allowed_ips" in changes:
        out["allowed_ips"] = check_networks(changes["allowed_ips"])
    if "expires_at" in changes:
        _check_end(key, changes["expires_at"])
    return out


def _check_end(key: ApiKey, ends: Any) -> None:
    if ends is None:
        if key.expires_at is not None:
            raise invalid("key", "/expires_at", "A life is never lengthened; replace the key instead")
        return
    if ends <= now():
        raise invalid("key", "/expires_at", "This is in the past; revoke the key to end it now")
    if key.expires_at is not None and ends > key.expires_at:
        raise invalid("key", "/expires_at", "A life is never lengthened; replace the key instead")
