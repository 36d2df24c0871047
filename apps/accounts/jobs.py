"""What accounts does by the clock."""

from datetime import timedelta

from apps.accounts import impersonation
from apps.scheduler.registry import job

__all__ = ["end_impersonations"]


@job(name="accounts.end_impersonations", every=timedelta(minutes=5))
def end_impersonations() -> dict[str, int]:
    """Write down the end of staff's stays in organisations whose time is over."""
    return {"ended": impersonation.end_expired()}
