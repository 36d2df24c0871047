"""What accounts does by the clock."""

from datetime import timedelta

from apps.accounts import impersonation, services
from apps.scheduler.registry import job

__all__ = ["end_impersonations", "erase_organizations", "remind_access_reviews", "sweep_exports"]


@job(name="accounts.end_impersonations", every=timedelta(minutes=5))
def end_impersonations() -> dict[str, int]:
    """Write down the end of staff's stays in organisations whose time is over."""
    return {"ended": impersonation.end_expired()}


@job(name="accounts.erase_organizations", every=timedelta(minutes=15))
def erase_organizations() -> dict[str, int]:
    """Go on erasing the organisations whose grace is over, ten minutes at a time."""
    return services.erase_due()


@job(name="accounts.remind_access_reviews", cron="10 7 * * *")
def remind_access_reviews() -> dict[str, int]:
    """Tell of reviews of access that are due."""
    return {"told": services.remind_access_reviews()}


@job(name="accounts.sweep_exports", every=timedelta(minutes=1))
def sweep_exports() -> dict[str, int]:
    """Take up exports whose worker died and remove the files of those whose time is over."""
    return services.sweep_exports()
