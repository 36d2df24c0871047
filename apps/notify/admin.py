"""For staff: mail, whether it went out, not what it said; and what organisations were told."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import RangeDateTimeFilter

from apps.core.admin import ReadOnlyAdmin
from apps.core.admin_search import IdSearchMixin
from apps.notify.models import EmailMessage, Notification, NotificationRead, ReadMark

__all__ = ["EmailMessageAdmin", "NotificationAdmin", "NotificationReadAdmin", "ReadMarkAdmin"]


@admin.register(EmailMessage)
class EmailMessageAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("created_at", "to", "subject", "template", "status", "attempts", "sent_at")
    list_filter = ("status", ("created_at", RangeDateTimeFilter))
    search_fields = ("to", "org_id", "correlation_id")
    # A mail may hold a link that signs somebody in.
    exclude = ("text", "html")
    ordering = ("-created_at", "-id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmailMessage]:
        """Without what they say, which is encrypted and not for staff: fifty of them would be decrypted for a list."""
        rows: QuerySet[EmailMessage] = super().get_queryset(request).defer("text", "html")
        return rows


@admin.register(Notification)
class NotificationAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("created_at", "kind", "tone", "title", "org_id", "capability")
    list_filter = ("tone", ("created_at", RangeDateTimeFilter))
    search_fields = ("org_id", "recipient_id", "once")
    ordering = ("-created_at", "-id")


@admin.register(ReadMark)
class ReadMarkAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("org_id", "user_id", "read_to")
    search_fields = ("org_id", "user_id")
    ordering = ("-id",)


@admin.register(NotificationRead)
class NotificationReadAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("org_id", "user_id", "notification")
    list_select_related = ("notification",)
    search_fields = ("org_id", "user_id")
    ordering = ("-id",)
