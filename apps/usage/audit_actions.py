"""What the usage engine writes into the audit trail."""

from apps.audit.registry import register_actions

__all__ = ["register"]


def register() -> None:
    """Make the actions known."""
    register_actions(
        {
            "price.set": "A price was set",
            "price.ended": "A price was ended",
            "usage.tag_key_registered": "A metadata key was registered for grouping",
            "usage.tag_key_removed": "A metadata key is no longer grouped by",
            "usage.person_claimed": "An unclaimed person was claimed for a member",
            "usage.drain_stalled": "A shard of the drain was found stuck",
            "usage.drain_recovered": "A shard of the drain that was stuck goes on",
        }
    )
