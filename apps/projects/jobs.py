"""What projects do by the clock."""

from datetime import timedelta

from django.db import transaction

from apps.core.clock import now
from apps.events.contracts import NewEvent
from apps.events.services import publish_many
from apps.projects.selectors import keys_ending
from apps.scheduler.registry import job

__all__: list[str] = []

# How long before its end a key is told of. Keys that live less, such as replaced ones, end as whoever made them said.
AHEAD = timedelta(days=7)
DAY = timedelta(days=1)


@job(name="projects.expiring_keys", cron="12 6 * * *")
def expiring_keys() -> int:
    """Tell of the keys that end a week from now: those of one day, so that each is told of once."""
    start = now().replace(hour=0, minute=0, second=0, microsecond=0) + AHEAD
    events = [
        NewEvent(
            type="key.expiring",
            org_id=key.org_id,
            data={"key_id": str(key.id), "project_id": str(key.project_id), "expires_at": key.expires_at},
        )
        for key in keys_ending(start, start + DAY)
    ]
    with transaction.atomic():
        publish_many(events)
    return len(events)
