"""What the trail publishes."""

from apps.events.registry import EventType, register_type

__all__ = ["register"]

_TEXT = {"type": "string"}


def register() -> None:
    """Make the types known."""
    register_type(
        EventType(
            name="audit.chain_broken",
            topic="audit.log",
            description="A verification of the audit trail found something that is not as it was sealed",
            schema={
                "properties": {
                    "chain_id": {**_TEXT, "format": "uuid"},
                    "position": {"type": ["integer", "null"]},
                    "entry_id": {"type": ["string", "null"], "format": "uuid"},
                    "reason": _TEXT,
                },
                "required": ["chain_id", "position", "entry_id", "reason"],
            },
        )
    )
    register_type(
        EventType(
            name="audit.stream_dead",
            topic="audit.log",
            description="A receiver of the audit log failed for three days and gets nothing more",
            schema={
                "properties": {"stream_id": {**_TEXT, "format": "uuid"}, "name": _TEXT, "error": _TEXT},
                "required": ["stream_id", "name", "error"],
            },
        )
    )
    asked = {
        "export_id": {**_TEXT, "format": "uuid"},
        "requested_by_id": {"type": ["string", "null"], "format": "uuid"},
    }
    register_type(
        EventType(
            name="audit.export_ready",
            topic="audit.log",
            description="A file of entries of the audit log that somebody asked for can be fetched",
            schema={
                "properties": {**asked, "entries": {"type": "integer"}, "expires_at": {**_TEXT, "format": "date-time"}},
                "required": [*asked, "entries", "expires_at"],
            },
        )
    )
    register_type(
        EventType(
            name="audit.export_failed",
            topic="audit.log",
            description="A file of entries of the audit log that somebody asked for could not be made",
            schema={"properties": {**asked, "failure": _TEXT}, "required": [*asked, "failure"]},
        )
    )
