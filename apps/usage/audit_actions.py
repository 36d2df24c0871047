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
            "usage.import_started": "An import of usage events was started",
            "usage.import_resumed": "An import that had ended early was resumed",
            "usage.import_finished": "An import was completed, failed or was cancelled",
            "usage.person_claimed": "An unclaimed person was claimed for a member",
            "usage.reprice_started": "A repricing was started",
            "usage.reprice_resumed": "A repricing that had failed was resumed",
            "usage.repriced": "A repricing was finished",
            "usage.rollups_rebuilt": "Rollups were made anew out of raw events",
            "usage.drain_stalled": "A shard of the drain was found stuck",
            "usage.upkeep_failing": "Work of the drain beside the counting fails",
            "usage.upkeep_recovered": "Work of the drain beside the counting succeeds again",
            "usage.batch_set_aside": "A batch of events that could not be counted was set aside",
            "usage.batch_put_back": "A batch of events that was set aside was put back to be counted",
            "usage.drain_recovered": "A shard of the drain that was stuck goes on",
        }
    )
