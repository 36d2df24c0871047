"""Mail on the staff's overview."""

from datetime import timedelta

from django.db.models import Min

from apps.core.clock import now
from apps.core.overview import Figure, Panel, register_panel
from apps.core.web.figures import count, duration
from apps.notify.models import EmailMessage

__all__: list[str] = []

_DAY = timedelta(days=1)
_LATE = timedelta(minutes=10)


def _mail() -> Panel:
    waiting = EmailMessage.objects.filter(status=EmailMessage.Status.QUEUED)
    oldest = waiting.aggregate(at=Min("due_at"))["at"]
    lately = EmailMessage.objects.filter(created_at__gte=now() - _DAY).order_by()
    failed = lately.filter(status=EmailMessage.Status.FAILED).count()
    problems = []
    if failed:
        problems.append(f"{count(failed)} mails of the last 24 hours could not be delivered.")
    if oldest is not None and now() - oldest > _LATE:
        problems.append(f"A mail is due since {duration((now() - oldest).total_seconds() * 1000)}.")
    return Panel(
        [
            Figure("Waiting", count(waiting.order_by().count())),
            Figure("Sent", count(lately.filter(status=EmailMessage.Status.SENT).count()), "in the last 24 hours"),
            Figure("Failed", count(failed), "in the last 24 hours"),
        ],
        problems,
    )


register_panel(key="notify.mail", title="Mail", load=_mail, order=50, links=(("E-mails", "notify_emailmessage"),))
