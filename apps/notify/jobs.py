"""The housekeeping of mail."""

from datetime import timedelta

from apps.notify import services
from apps.scheduler.registry import job

__all__: list[str] = []


@job(name="notify.sweep", every=timedelta(minutes=1), retries=0)
def sweep() -> int:
    """Queue mails again whose message was lost."""
    return services.sweep_emails()


@job(name="notify.prune", cron="37 3 * * *")
def prune() -> int:
    """Remove mails after a month."""
    return services.prune_emails()


@job(name="notify.prune_notifications", cron="41 3 * * *")
def prune_notifications() -> int:
    """Remove notifications after 90 days."""
    return services.prune_notifications()
