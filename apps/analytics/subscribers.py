"""What analytics hears on the bus: for the sake of open pages, and of what people kept."""

from uuid import UUID

from apps.analytics.live import on_access_ended, on_batch, pick_watched
from apps.analytics.services import forget_member_views
from apps.events.contracts import Envelope
from apps.events.registry import subscribe

__all__ = ["on_member_left"]

# A sign-in ended: by its person, by staff, by a new password.
SIGNED_OUT = ("user.logout", "user.session.invalid")


def on_member_left(envelope: Envelope) -> None:
    """``member.removed``: their private views go, shared ones stay with the organisation."""
    if envelope.org_id is not None:
        forget_member_views(org_id=envelope.org_id, user_id=UUID(envelope.data["user_id"]))


subscribe(name="analytics.live", types=["usage.batch_ingested"], handler=on_batch, picks=pick_watched)
subscribe(name="analytics.live_access", types=["member.removed", *SIGNED_OUT], handler=on_access_ended)
subscribe(name="analytics.views", types=["member.removed"], handler=on_member_left)
