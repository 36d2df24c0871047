"""How far refresh tokens are on their way to the current pepper."""

from datetime import datetime

from django.db.models import Count, Q

from apps.core.clock import now
from apps.core.peppers import PepperStatus, PepperStore, register_pepper_store
from apps.identity.models import RefreshToken

__all__ = ["register"]


def _status(since: datetime | None) -> PepperStatus:
    living = RefreshToken.objects.filter(used_at=None, family__ended_at=None, family__expires_at__gt=now())
    made_since = Q(created_at__gte=since) if since else Q(pk__in=[])
    return PepperStatus(**living.aggregate(living=Count("pk"), current=Count("pk", filter=made_since)))


def register() -> None:
    """Make the store known."""
    register_pepper_store(
        PepperStore(
            "Refresh tokens",
            "Each refresh makes one under the current pepper, and none lives beyond 30 days without; say --since.",
            _status,
        )
    )
