"""Reading what went out, and what people are told inside the product."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, Case, Exists, OuterRef, Q, QuerySet, Subquery, Value, When

from apps.core.pagination import paginate
from apps.core.tenancy import org_scope
from apps.notify.contracts import Note
from apps.notify.models import EmailMessage, Notification, NotificationRead, ReadMark

__all__ = ["COUNTED_TO", "latest_notes", "mail_get", "mail_list", "note_page", "unread_count", "visible"]

# More than this many unread ones are not counted.
COUNTED_TO = 100


def mail_list(*, to: str = "") -> QuerySet[EmailMessage]:
    """The mails of the scope, without their texts; ``to`` narrows to one address."""
    mails: QuerySet[EmailMessage] = EmailMessage.objects.defer("text", "html")
    return mails.filter(to__iexact=to) if to else mails


def mail_get(mail_id: UUID) -> EmailMessage | None:
    """One mail of the scope, or None."""
    mail: EmailMessage | None = EmailMessage.objects.filter(pk=mail_id).first()
    return mail


# ---------------------------------------------------------------- notifications
def visible(*, user_id: UUID, capabilities: frozenset[str]) -> QuerySet[Notification]:
    """What one person of the scope's organisation may read."""
    everybody = Q(recipient_id__isnull=True, capability__in=["", *capabilities]) & ~Q(except_id=user_id)
    rows: QuerySet[Notification] = Notification.objects.filter(everybody | Q(recipient_id=user_id))
    return rows


def _with_read(rows: QuerySet[Notification], user_id: UUID) -> QuerySet[Any]:
    """``is_read`` for the person: up to their mark, or one by one."""
    mark = Subquery(ReadMark.objects.filter(user_id=user_id).values("read_to")[:1])
    single = Exists(NotificationRead.objects.filter(user_id=user_id, notification_id=OuterRef("pk")))
    read = Case(
        When(Q(created_at__lte=mark) | Q(single), then=Value(True)), default=Value(False), output_field=BooleanField()
    )
    return rows.annotate(is_read=read)


def unread_count(*, org_id: UUID, user_id: UUID, capabilities: frozenset[str]) -> int:
    """How many a person has not read, up to :data:`COUNTED_TO`; one query."""
    with org_scope(org_id):
        rows = _with_read(visible(user_id=user_id, capabilities=capabilities), user_id).filter(is_read=False)
        return rows.order_by()[:COUNTED_TO].count()


def latest_notes(
    *, org_id: UUID, user_id: UUID, capabilities: frozenset[str], only_unread: bool = False, limit: int = 30
) -> list[Note]:
    """The newest ones; one query."""
    with org_scope(org_id):
        rows = _rows(user_id, capabilities, only_unread)
        return [_note(row) for row in rows.order_by("-created_at", "-id")[:limit]]


def note_page(
    *, org_id: UUID, user_id: UUID, capabilities: frozenset[str], query: Mapping[str, str], only_unread: bool = False
) -> tuple[list[Note], str | None]:
    """A page of the history, newest first, and the cursor of the next one; one query."""
    with org_scope(org_id):
        page = paginate(_rows(user_id, capabilities, only_unread), query)
        return [_note(row) for row in page.rows], page.next_cursor


def _rows(user_id: UUID, capabilities: frozenset[str], only_unread: bool) -> QuerySet[Any]:
    rows = _with_read(visible(user_id=user_id, capabilities=capabilities), user_id)
    return rows.filter(is_read=False) if only_unread else rows


def _note(row: Any) -> Note:
    from apps.notify.kinds import icons

    created_at: datetime = row.created_at
    return Note(
        id=row.pk, kind=row.kind, tone=row.tone, icon=icons.get(row.kind, "bell"), title=row.title, body=row.body,
        link=row.link, created_at=created_at, is_read=row.is_read,
    )  # fmt: skip
