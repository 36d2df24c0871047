"""What teams publishes and records."""

from typing import Any

from apps.audit.registry import register_actions
from apps.events.registry import register_facts

_ID: dict[str, Any] = {"type": "string", "format": "uuid"}
_TEXT: dict[str, Any] = {"type": "string"}
_CHANGED: dict[str, Any] = {"type": "array", "items": _TEXT}

_TYPES: dict[str, dict[str, dict[str, Any]]] = {
    "team.created": {"team_id": _ID, "name": _TEXT},
    "team.updated": {"team_id": _ID, "changed": _CHANGED},
    "team.deleted": {"team_id": _ID},
    "team.member_added": {"team_id": _ID, "user_id": _ID},
    "team.member_removed": {"team_id": _ID, "user_id": _ID},
    "team.access_changed": {"team_id": _ID, "user_id": _ID, "capabilities": _CHANGED},
    "team.access_removed": {"team_id": _ID, "user_id": _ID},
    "member.invited": {"org_id": _ID, "invitation_id": _ID, "role": _TEXT},
}

register_facts(_TYPES)

register_actions(
    {
        "team.created": "A team was made",
        "team.updated": "A team changed",
        "team.deleted": "A team was deleted",
        "team.member_added": "A person joined a team",
        "team.member_removed": "A person left a team",
        "team.access_changed": "What a person may do with a team changed",
        "team.access_removed": "What a person was given on a team was taken away",
        "invitation.created": "Somebody was invited by mail",
        "invitation.resent": "An invitation was sent again, with a new link",
        "invitation.revoked": "An invitation was taken back",
        "invitation.accepted": "An invited person joined",
    }
)
