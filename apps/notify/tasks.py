"""What a worker does for mail."""

from uuid import UUID

from apps.notify import services
from apps.scheduler.background import background_task

__all__ = ["deliver"]


@background_task(name="notify.deliver")
def deliver(email_id: str) -> None:
    """Send one queued mail."""
    services.deliver_email(email_id=UUID(email_id))
