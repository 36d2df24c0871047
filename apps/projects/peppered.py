"""How far API keys are on their way to the current pepper."""

from datetime import datetime

from django.db.models import Count, Q

from apps.core.clock import now
from apps.core.crypto import pepper_id
from apps.core.peppers import PepperStatus, PepperStore, register_pepper_store
from apps.projects.models import ApiKey

__all__ = ["register"]


def _status(since: datetime | None) -> PepperStatus:
    moment = now()
    living = ApiKey.objects.filter(Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=moment)))
    counts = living.aggregate(living=Count("pk"), current=Count("pk", filter=Q(pepper=pepper_id())))
    return PepperStatus(**counts)


def register() -> None:
    """Make the store known."""
    register_pepper_store(
        PepperStore(
            "API keys",
            "They come to the current pepper when they are next used; replace or revoke those that are not.",
            _status,
        )
    )
