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
