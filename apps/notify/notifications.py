"""Notifications inside the product: told once, read by each person for themselves.

One row tells a whole organisation. What a person has read is a mark (everything up to a moment) and, behind it, the
single ones they have read since; so ten thousand members cost no more rows than those who read.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.db import transaction

from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.notify.contracts import Draft
from apps.notify.live import send_news
from apps.notify.models import Notification, NotificationRead, ReadMark
from apps.notify.selectors import visible

__all__ = ["KEPT_DAYS", "mark_all_read", "mark_read", "prune_notifications", "start_reading", "tell"]

logger = logging.getLogger(__name__)

KEPT_DAYS = 90


@transaction.atomic
def tell(*, org_ids: Iterable[UUID], kind: str, drafts: Sequence[Draft], event_id: UUID) -> int:
    """Tell organisations something; returns how much of it was new. Telling the same event again is harmless.

    Open pages look again after the commit.
    """
    told = 0
    for org_id in org_ids:
        with org_scope(org_id):
            rows = [_row(org_id, kind, draft, event_id) for draft in drafts]
            Notification.objects.bulk_create(rows, ignore_conflicts=True)
            new = Notification.objects.filter(pk__in=[row.pk for row in rows]).count()
        if new:
            told += new
            transaction.on_commit(partial(_send_news, org_id))
    return told


def _row(org_id: UUID, kind: str, draft: Draft, event_id: UUID) -> Notification:
    return Notification(
        org_id=org_id, kind=kind, tone=draft.tone, title=draft.title[:300], body=draft.body[:1000], link=draft.link,
        capability=draft.capability, recipient_id=draft.recipient_id, except_id=draft.except_id,
        once=draft.once or str(event_id),
    )  # fmt: skip


def _send_news(org_id: UUID) -> None:
    try:
        send_news(org_id)
    except Exception:
        # It is kept and shown with the next page: no reason to have the bus try again.
        logger.warning("open pages of %s were not told of a notification", org_id, exc_info=True)


@transaction.atomic
def mark_read(*, org_id: UUID, user_id: UUID, capabilities: frozenset[str], notification_id: UUID) -> None:
    """A person has read one; :class:`NotFound` for one that is not for them. Repeating it is harmless."""
    with org_scope(org_id):
        if not visible(user_id=user_id, capabilities=capabilities).filter(pk=notification_id).exists():
            raise NotFound("There is no such notification, or it is not kept any more")
        NotificationRead.objects.bulk_create(
            [NotificationRead(org_id=org_id, notification_id=notification_id, user_id=user_id)], ignore_conflicts=True
        )


@transaction.atomic
def mark_all_read(*, org_id: UUID, user_id: UUID, capabilities: frozenset[str], newest_id: UUID | None = None) -> None:
    """A person has read everything, or what is not newer than ``newest_id``: what they had not seen stays unread."""
    with org_scope(org_id):
        read_to = now()
        if newest_id is not None:
            shown = visible(user_id=user_id, capabilities=capabilities).filter(pk=newest_id).first()
            if shown is None:
                raise NotFound("There is no such notification, or it is not kept any more")
            read_to = shown.created_at
        _set_mark(org_id, user_id, read_to)
        NotificationRead.objects.filter(user_id=user_id, notification__created_at__lte=read_to).delete()


@transaction.atomic
def start_reading(*, org_id: UUID, user_id: UUID, since: datetime) -> None:
    """Whoever joins begins with what is told from ``since`` on."""
    with org_scope(org_id):
        _set_mark(org_id, user_id, since)


def _set_mark(org_id: UUID, user_id: UUID, read_to: datetime) -> None:
    """The mark only moves forward."""
    ReadMark.objects.bulk_create([ReadMark(org_id=org_id, user_id=user_id, read_to=read_to)], ignore_conflicts=True)
    ReadMark.objects.filter(user_id=user_id, read_to__lt=read_to).update(read_to=read_to)


def prune_notifications() -> int:
    """Remove notifications after 90 days, with who has read them; returns how many."""
    with system_scope("the retention of every organisation's notifications"):
        _, by_model = Notification.objects.filter(created_at__lt=now() - timedelta(days=KEPT_DAYS)).delete()
    return int(by_model.get("notify.Notification", 0))
