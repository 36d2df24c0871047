"""How far tokens of provisioning are on their way to the current pepper."""

from datetime import datetime

from django.db.models import Count, Q

from apps.core.clock import now
from apps.core.peppers import PepperStatus, PepperStore, register_pepper_store
from apps.sso.models import ScimToken

__all__ = ["register"]


def _status(since: datetime | None) -> PepperStatus:
    living = ScimToken.objects.filter(Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now())))
    # Using one makes its digest anew.
    since_then = Q(created_at__gte=since) | Q(last_used_at__gte=since) if since else Q(pk__in=[])
    return PepperStatus(**living.aggregate(living=Count("pk"), current=Count("pk", filter=since_then)))


def register() -> None:
    """Make the store known."""
    register_pepper_store(
        PepperStore(
            "Provisioning tokens",
            "They come to the current pepper when they are next used; say --since. Replace those that are not used.",
            _status,
        )
    )
