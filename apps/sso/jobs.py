"""What single sign-on does by the clock."""

from datetime import timedelta

from apps.scheduler.registry import job
from apps.sso import services
from apps.sso.models import Domain

__all__: list[str] = []


@job(name="sso.recheck_domains", cron="40 4 * * *")
def recheck_domains() -> dict[str, int]:
    """Look for the records of proved domains again."""
    told: dict[str, int] = {}
    for org_id, domain_id in Domain.objects.filter(verified_at__isnull=False).values_list("org_id", "id"):
        state = services.recheck_domain(org_id=org_id, domain_id=domain_id)
        told[state] = told.get(state, 0) + 1
    return told


@job(name="sso.prune", every=timedelta(hours=1))
def prune() -> dict[str, int]:
    """Forget assertions that have expired, and the log of provisioning of more than a month ago."""
    return {"assertions": services.forget_assertions(), "requests": services.prune_scim_requests()}
