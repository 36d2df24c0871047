"""What accounts publishes and records."""

from typing import Any

from apps.audit.registry import register_actions
from apps.events.registry import register_facts

_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_CHANGED: dict[str, Any] = {"type": "array", "items": _TEXT}

_TYPES: dict[str, dict[str, dict[str, Any]]] = {
    "org.created": {"org_id": _ID, "name": _TEXT, "slug": _TEXT},
    "org.updated": {"org_id": _ID, "changed": _CHANGED},
    "org.deleted": {"org_id": _ID},
    "org.restored": {"org_id": _ID},
    "org.erased": {"org_id": _ID, "rows": {"type": "integer"}},
    "member.added": {"org_id": _ID, "user_id": _ID, "role": _TEXT},
    "member.role_changed": {"org_id": _ID, "user_id": _ID, "role": _TEXT, "previous_role": _TEXT},
    "member.removed": {"org_id": _ID, "user_id": _ID, "role": _TEXT},
    "access.reviewed": {"org_id": _ID, "review_id": _ID, "next_due": {"type": "string", "format": "date"}},
    "access.review_due": {"org_id": _ID, "due": {"type": "string", "format": "date"}},
    "role.created": {"org_id": _ID, "role_id": _ID, "role": _TEXT},
    "role.updated": {"org_id": _ID, "role_id": _ID, "role": _TEXT, "changed": _CHANGED},
    "role.deleted": {"org_id": _ID, "role_id": _ID, "role": _TEXT},
}

register_facts(_TYPES)

register_actions(
    {
        "org.created": "An organisation was made",
        "org.updated": "An organisation's settings changed",
        "org.deleted": "An organisation was deleted",
        "org.restored": "A deleted organisation was restored",
        "org.grace_extended": "The erasure of a deleted organisation was put off",
        "org.erasure_started": "The erasure of an organisation began",
        "org.erased": "An organisation was erased",
        "org.ownership_transferred": "An organisation got another owner",
        "org.export_requested": "An export of all data was asked for",
        "org.exported": "An export of all data was made",
        "org.export_fetched": "An export of all data was fetched",
        "org.suspended": "An organisation was suspended",
        "org.resumed": "An organisation was resumed",
        "member.added": "A person joined the organisation",
        "member.role_changed": "A member's role changed",
        "member.removed": "A member left or was removed",
        "access.review_due": "It was time to look through who can do what",
        "access.reviewed": "Somebody confirmed who can do what",
        "role.created": "A role was made",
        "role.updated": "What a role may do, or its name, changed",
        "role.deleted": "A role was deleted",
        "impersonation.started": "Staff began to see the organisation in a member's place",
        "impersonation.ended": "Staff no longer sees the organisation in a member's place",
    }
)
