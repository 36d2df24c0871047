"""What notify keeps of a person: mails to them, and what they alone were told."""

from typing import Any

from apps.core.personal import PersonalData, Subject, listed, register_personal
from apps.notify.models import EmailMessage, Notification, NotificationRead, ReadMark

__all__ = ["register"]

_MAIL = ("org_id", "to", "subject", "status", "created_at", "sent_at")
_TOLD = ("org_id", "title", "body", "created_at")


def _export(subject: Subject) -> dict[str, Any]:
    """Without the mails' texts: those that have not gone out yet may hold a link that signs somebody in."""
    mails = EmailMessage.objects.filter(to__in=subject.emails).order_by("-created_at")
    told = Notification.objects.filter(recipient_id=subject.user_id).order_by("-created_at")
    read = ReadMark.objects.filter(user_id=subject.user_id)
    return {
        "mails": listed(list(mails.values(*_MAIL))),
        "notifications": listed(list(told.values(*_TOLD))),
        "read_to": listed(list(read.values("org_id", "read_to"))),
    }


def _erase(subject: Subject) -> int:
    """Mails that wait are not sent any more either."""
    person = subject.user_id
    return sum(
        int(rows.delete()[0])
        for rows in (
            EmailMessage.objects.filter(to__in=subject.emails),
            NotificationRead.objects.filter(user_id=person),
            Notification.objects.filter(recipient_id=person),
            ReadMark.objects.filter(user_id=person),
        )
    )


def register() -> None:
    """Make the share known."""
    register_personal(PersonalData("notify", "Mails and notifications", _export, _erase, order=70))
