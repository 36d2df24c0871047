"""What single sign-on does by the clock."""

from datetime import timedelta
from time import monotonic

from apps.scheduler.registry import job
from apps.sso import selectors, services
from apps.sso.models import Domain

__all__: list[str] = []

_LONGEST = 300.0


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
    """Forget assertions that have expired, sign-ins long told of, and the log of provisioning of a month ago."""
    return {
        "assertions": services.forget_assertions(),
        "requests": services.prune_scim_requests(),
        "told": services.forget_told_sign_ins(),
    }


@job(name="sso.refresh_metadata", every=timedelta(hours=1))
def refresh_metadata() -> dict[str, int]:
    """Fetch the providers' metadata again where they are due, for five minutes at the most."""
    told: dict[str, int] = {}
    until = monotonic() + _LONGEST
    for org_id, connection_id in selectors.metadata_due():
        if monotonic() >= until:
            told["left"] = told.get("left", 0) + 1
            continue
        state = services.refresh_metadata(org_id=org_id, connection_id=connection_id)
        told[state] = told.get(state, 0) + 1
    return told
