"""Sending mail: rendered and kept in the caller's transaction, sent by a worker after its commit.

Notifications inside the product are in :mod:`apps.notify.notifications`.
"""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import transaction
from django.template import TemplateDoesNotExist
from django.template.loader import render_to_string

from apps.core.backoff import backoff
from apps.core.clock import now
from apps.core.context import current
from apps.core.tenancy import system_scope
from apps.notify.models import EmailMessage
from apps.notify.notifications import mark_all_read, mark_read, prune_notifications, start_reading, tell
from apps.scheduler.background import enqueue

__all__ = [
    "deliver_email",
    "mark_all_read",
    "mark_read",
    "prune_emails",
    "prune_notifications",
    "send_email",
    "start_reading",
    "sweep_emails",
    "tell",
]

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 8
FIRST_BACKOFF, LONGEST_BACKOFF = timedelta(seconds=30), timedelta(hours=1)
# How long a mail may be in the hands of a worker before another takes it.
LEASE = timedelta(minutes=5)
KEPT = timedelta(days=30)


def send_email(*, to: str, template: str, context: Mapping[str, Any], org_id: UUID | None) -> UUID:
    """Send a mail to one person once the caller's transaction commits; returns the mail's id.

    ``template`` names a folder under ``templates/notify/mail/`` with ``subject.txt``, ``body.txt`` and, where the plain
    text made into paragraphs is not enough, ``body.html``. They get ``context`` and ``public_url``. Raises
    ``TemplateDoesNotExist`` here, not in the worker, for one that is missing. Delivery is at least once.
    """
    values = {"public_url": settings.PUBLIC_URL, **context}
    subject, text, html = _render(template, values)
    email = EmailMessage(
        org_id=org_id,
        to=to,
        template=template,
        subject=subject,
        text=text,
        html=html,
        correlation_id=current().correlation_id,
    )
    with transaction.atomic(), system_scope("a mail says itself whose it is; some are nobody's"):
        email.save(force_insert=True)
        _queue(email)
    return email.pk


def _render(template: str, values: dict[str, Any]) -> tuple[str, str, str]:
    folder = f"notify/mail/{template}"
    # One line: a subject with a line break would be a header of the sender's making.
    subject = " ".join(render_to_string(f"{folder}/subject.txt", values).split())
    text = render_to_string(f"{folder}/body.txt", values).strip() + "\n"
    try:
        html = render_to_string(f"{folder}/body.html", {**values, "subject": subject})
    except TemplateDoesNotExist as error:
        if f"{folder}/body.html" not in str(error):
            raise
        html = render_to_string("notify/mail/plain.html", {**values, "subject": subject, "text": text})
    return subject, text, html


def _queue(email: EmailMessage, wait: timedelta = timedelta()) -> None:
    from apps.notify.tasks import deliver

    enqueue(deliver, countdown=wait.total_seconds(), email_id=str(email.pk))


def deliver_email(*, email_id: UUID) -> bool:
    """Send a queued mail now; whether it went out. A failure is kept and tried again later, eight times in all.

    Two workers never send one mail at the same time; after a crash in the midst of it it may go out twice, with the
    same Message-ID.
    """
    with system_scope("a worker delivers every organisation's mail"):
        moment = now()
        # A claim without a lock: whoever moves the due time first has it, for the length of the lease.
        claimed = EmailMessage.objects.filter(pk=email_id, status=EmailMessage.Status.QUEUED, due_at__lte=moment)
        if claimed.update(due_at=moment + LEASE) != 1:
            return False
        email = EmailMessage.objects.get(pk=email_id)
        email.attempts += 1
        try:
            _hand_over(email)
        except Exception as error:
            _put_off(email, error)
            return False
        _mark_sent(email)
        return True


def _hand_over(email: EmailMessage) -> None:
    message = EmailMultiAlternatives(
        subject=email.subject,
        body=email.text,
        to=[email.to],
        headers={"Message-ID": f"<{email.pk}@mindweave>", "X-Correlation-Id": email.correlation_id},
        connection=get_connection(timeout=20) if "smtp" in settings.EMAIL_BACKEND else get_connection(),
    )
    message.attach_alternative(email.html, "text/html")
    message.send()


def _mark_sent(email: EmailMessage) -> None:
    email.status, email.sent_at, email.error = EmailMessage.Status.SENT, now(), ""
    if not settings.MINDWEAVE_DEV_MAILBOX:
        email.text = email.html = ""
    email.save(update_fields=["status", "sent_at", "error", "attempts", "text", "html"])


def _put_off(email: EmailMessage, error: Exception) -> None:
    logger.warning("mail %s could not be sent (attempt %d): %s", email.pk, email.attempts, error)
    wait = backoff(email.attempts, first=FIRST_BACKOFF, longest=LONGEST_BACKOFF)
    email.error = f"{type(error).__name__}: {error}"[:2000]
    email.due_at = now() + wait
    with transaction.atomic():
        if email.attempts >= MAX_ATTEMPTS:
            email.status = EmailMessage.Status.FAILED
            if not settings.MINDWEAVE_DEV_MAILBOX:
                email.text = email.html = ""
        else:
            _queue(email, wait)
        email.save(update_fields=["status", "error", "attempts", "due_at", "text", "html"])


def sweep_emails() -> int:
    """Queue again the mails whose message was lost or whose worker died; returns how many."""
    with transaction.atomic(), system_scope("the sweep finds every organisation's mail"):
        late = EmailMessage.objects.filter(
            status=EmailMessage.Status.QUEUED, due_at__lt=now() - timedelta(minutes=1)
        ).order_by("due_at")[:500]
        emails = list(late)
        for email in emails:
            _queue(email)
    return len(emails)


def prune_emails() -> int:
    """Remove mails after a month; returns how many."""
    with system_scope("the retention of every organisation's mail"):
        deleted: int = EmailMessage.objects.filter(created_at__lt=now() - KEPT).delete()[0]
    return deleted
