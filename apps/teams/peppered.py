"""How far invitations are on their way to the current pepper."""

from datetime import datetime

from django.db.models import Count, Q

from apps.core.clock import now
from apps.core.peppers import PepperStatus, PepperStore, register_pepper_store
from apps.teams.models import Invitation

__all__ = ["register"]


def _status(since: datetime | None) -> PepperStatus:
    living = Invitation.objects.filter(expires_at__gt=now(), accepted_at=None, revoked_at=None)
    sent_since = Q(sent_at__gte=since) if since else Q(pk__in=[])
    return PepperStatus(**living.aggregate(living=Count("pk"), current=Count("pk", filter=sent_since)))


def register() -> None:
    """Make the store known."""
    register_pepper_store(
        PepperStore("Invitations", "They end by themselves, or are sent again under the current pepper.", _status)
    )
