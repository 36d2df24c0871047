"""Reading what went out."""

from uuid import UUID

from django.db.models import QuerySet

from apps.notify.models import EmailMessage

__all__ = ["mail_get", "mail_list"]


def mail_list(*, to: str = "") -> QuerySet[EmailMessage]:
    """The mails of the scope, without their texts; ``to`` narrows to one address."""
    mails: QuerySet[EmailMessage] = EmailMessage.objects.defer("text", "html")
    return mails.filter(to__iexact=to) if to else mails


def mail_get(mail_id: UUID) -> EmailMessage | None:
    """One mail of the scope, or None."""
    mail: EmailMessage | None = EmailMessage.objects.filter(pk=mail_id).first()
    return mail
