"""What the usage engine does on events of the bus."""

from datetime import datetime
from uuid import UUID

from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.usage.repricing import reprice_start

__all__ = ["on_price_changed", "register"]


def register() -> None:
    """Make the subscriptions known."""
    subscribe(name="usage.price_unpriced", types=["usage.price_changed"], handler=on_price_changed)


def on_price_changed(envelope: Envelope) -> None:
    """``usage.price_changed``: what was counted without a price in its period gets it. What has a cost keeps it."""
    data = envelope.data
    reprice_start(
        org_id=envelope.org_id if envelope.org_id is None else UUID(str(envelope.org_id)),
        model=data["model"],
        start=datetime.fromisoformat(data["valid_from"]),
        end=datetime.fromisoformat(data["valid_to"]) if data["valid_to"] else None,
        only_unpriced=True,
        reason="a price was set",
    )
