"""What mail is sent because something happened elsewhere."""

from apps.events.contracts import Envelope
from apps.events.registry import subscribe
from apps.notify.services import send_email

__all__ = ["welcome"]


def welcome(event: Envelope) -> None:
    """Greet a person who registered."""
    person = {"email": event.data["email"], "name": event.data.get("name", "")}
    send_email(to=person["email"], template="welcome", context=person, org_id=None)


subscribe(name="notify.welcome", types=["user.created"], handler=welcome)
