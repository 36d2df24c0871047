"""What teams does by the clock."""

from apps.scheduler.registry import job
from apps.teams import services

__all__ = ["prune_invitations"]


@job(name="teams.prune_invitations", cron="40 3 * * *")
def prune_invitations() -> int:
    """Delete invitations that ended 90 days ago."""
    return services.prune_invitations()
