"""What projects publishes and records."""

from typing import Any

from apps.audit.registry import register_actions
from apps.events.registry import register_facts

_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_AT: dict[str, Any] = {"type": "string", "format": "date-time"}
_CHANGED: dict[str, Any] = {"type": "array", "items": _TEXT}

_TYPES: dict[str, dict[str, dict[str, Any]]] = {
    "project.created": {"project_id": _ID, "name": _TEXT},
    "project.updated": {"project_id": _ID, "changed": _CHANGED},
    "project.deleted": {"project_id": _ID},
    "project.access_changed": {
        "project_id": _ID, "grantee_type": _TEXT, "grantee_id": _ID, "capabilities": _CHANGED,
    },
    "project.access_removed": {"project_id": _ID, "grantee_type": _TEXT, "grantee_id": _ID},
    "project.restored": {"project_id": _ID},
    "project.settings_changed": {"project_id": _ID, "changed": _CHANGED, "tag_keys": _CHANGED},
    "key.created": {"key_id": _ID, "project_id": _ID, "name": _TEXT},
    "key.updated": {"key_id": _ID, "project_id": _ID, "changed": _CHANGED},
    "key.revoked": {"key_id": _ID, "project_id": _ID},
    "key.leaked": {"key_id": _ID, "project_id": _ID, "url": _TEXT, "revoked": {"type": "boolean"}},
    "key.policy_changed": {"org_id": _ID, "changed": _CHANGED},
    "key.rotated": {"key_id": _ID, "project_id": _ID, "new_key_id": _ID, "ends_at": _AT},
    "key.expiring": {"key_id": _ID, "project_id": _ID, "expires_at": _AT},
}  # fmt: skip

register_facts(_TYPES)

register_actions(
    {
        "key.refused": "A key was refused: revoked, expired, mistyped, or used from where it may not be",
        "project.created": "A project was made",
        "project.updated": "A project changed",
        "project.deleted": "A project was archived",
        "project.access_changed": "What a person or a team may do with a project changed",
        "project.access_removed": "What a person or a team was given on a project was taken away",
        "project.restored": "A project was taken out of the archive",
        "project.settings_changed": "A project's settings changed",
        "key.created": "An API key was made",
        "key.rotated": "An API key was replaced",
        "key.updated": "An API key changed",
        "key.revoked": "An API key was revoked",
        "key.leaked": "An API key was reported as leaked",
        "key.policy_changed": "What is asked of all API keys changed",
    }
)
