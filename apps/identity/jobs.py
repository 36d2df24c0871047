"""What identity does by the clock."""

from datetime import timedelta

from apps.identity import challenges, services
from apps.scheduler.registry import job

__all__ = ["prune", "prune_challenges", "rotate_signing_key"]


@job(name="identity.rotate_signing_key", every=timedelta(days=30))
def rotate_signing_key() -> dict[str, str]:
    """Sign access tokens with a new key from now on."""
    return {"key": str(services.rotate_signing_key())}


@job(name="identity.prune_challenges", every=timedelta(hours=1))
def prune_challenges() -> dict[str, int]:
    """Delete what was begun and not finished in its minutes."""
    return {"challenges": challenges.prune_challenges()}


@job(name="identity.prune", cron="20 3 * * *")
def prune() -> dict[str, int]:
    """Delete sign-ins that ended a month ago and web sessions that expired."""
    return services.prune_sign_ins()
