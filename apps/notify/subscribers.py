"""What notify does because something happened elsewhere."""

from uuid import UUID

from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.notify.services import send_email, start_reading

__all__ = ["begin", "welcome"]


def welcome(event: Envelope) -> None:
    """Greet a person who registered."""
    person = {"email": event.data["email"], "name": event.data.get("name", "")}
    send_email(to=person["email"], template="welcome", context=person, org_id=None)


def begin(event: Envelope) -> None:
    """Whoever joins an organisation is not told what happened before."""
    if event.org_id is not None:
        start_reading(org_id=event.org_id, user_id=UUID(event.data["user_id"]), since=event.timestamp)


subscribe(name="notify.welcome", types=["user.created"], handler=welcome)
subscribe(name="notify.begin", types=["member.added"], handler=begin)
