"""What of the audit trail is found by a digest under a pepper: the keys of addresses of which nobody knew whose.

Those of before: what is sealed for an address now is found under a key of the trail's own, which stays.
"""

from datetime import datetime

from django.db.models import Count, Q

from apps.audit.models import DataKey
from apps.core.peppers import PepperStatus, PepperStore, register_pepper_store

__all__ = ["register"]


def _status(since: datetime | None) -> PepperStatus:
    kept = DataKey.objects.filter(subject__startswith="address:", destroyed_at=None)
    made_since = Q(created_at__gte=since) if since else Q(pk__in=[])
    return PepperStatus(**kept.aggregate(living=Count("pk"), current=Count("pk", filter=made_since)))


def register() -> None:
    """Make the store known."""
    register_pepper_store(
        PepperStore(
            "Addresses in the audit trail, as kept before",
            "Without its pepper an address of before cannot be erased from the trail; they go with its retention.",
            _status,
        )
    )
