"""What projects do by the clock."""

from datetime import timedelta

from apps.projects.reminders import remind_of_ends
from apps.scheduler.registry import job

__all__ = ["expiring_keys"]


@job(name="projects.expiring_keys", every=timedelta(hours=1))
def expiring_keys() -> int:
    """Tell of the keys that end in 14 days, in three and in one."""
    return remind_of_ends()
