"""The trail for staff: to read, nothing else."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from apps.audit.models import (
    AuditEntry,
    AuditExport,
    AuditRetention,
    AuditStream,
    Chain,
    Checkpoint,
    DataKey,
    SealingKey,
    SystemStream,
)
from apps.audit.registry import actions
from apps.core.admin import ReadOnlyAdmin
from apps.core.admin_search import IdSearchMixin

__all__ = [
    "AuditEntryAdmin",
    "AuditExportAdmin",
    "AuditRetentionAdmin",
    "AuditStreamAdmin",
    "ChainAdmin",
    "CheckpointAdmin",
    "DataKeyAdmin",
    "SealingKeyAdmin",
    "SystemStreamAdmin",
]


class ActionFilter(DropdownFilter):
    """The registered actions; asking the table which it holds would read all of it."""

    title = "action"
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in actions()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        return queryset.filter(action=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("occurred_at", "action", "actor_label", "target_type", "target_label", "org_id", "ip")
    list_filter = (("occurred_at", RangeDateTimeFilter), ActionFilter)
    search_fields = ("org_id", "actor_id", "target_id", "correlation_id")
    search_help_text = "A whole id of an organisation, actor or target, or a correlation id"
    ordering = ("-occurred_at", "-id")
    exclude = ("sealed", "ip_mark")


@admin.register(Chain)
class ChainAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = (
        "chain_id",
        "position",
        "signed_at",
        "checkpoint_position",
        "verified_at",
        "verified_position",
        "broken",
    )
    search_fields = ("chain_id",)
    search_help_text = "A whole id of an organisation; zeros for what belongs to none"
    ordering = ("-signed_at",)
    exclude = ("digest", "signature")


@admin.register(Checkpoint)
class CheckpointAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("made_at", "chain_id", "position", "kind", "key_id")
    search_fields = ("chain_id",)
    search_help_text = "A whole id of an organisation; zeros for what belongs to none"
    ordering = ("-id",)
    exclude = ("digest", "signature")


@admin.register(DataKey)
class DataKeyAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("id", "org_id", "person_id", "subject", "created_at", "destroyed_at")
    search_fields = ("id", "org_id", "person_id")
    search_help_text = "A whole id of a key, an organisation or a person"
    ordering = ("-id",)


@admin.register(SealingKey)
class SealingKeyAdmin(ReadOnlyAdmin):
    list_display = ("id", "created_at", "retired_at")
    exclude = ("private_pem",)
    ordering = ("-created_at", "-id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[SealingKey]:
        """Without the private keys: to show a list is no reason to decrypt them."""
        rows: QuerySet[SealingKey] = super().get_queryset(request).defer("private_pem")
        return rows


@admin.register(AuditStream)
class AuditStreamAdmin(IdSearchMixin, ReadOnlyAdmin):
    list_display = ("name", "org_id", "url", "format", "state", "position", "sent_at", "retry_at", "last_error")
    search_fields = ("org_id", "id")
    search_help_text = "A whole id of an organisation or a stream"
    exclude = ("secret", "former_secret")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditStream]:
        """Without the secrets: to show a list is no reason to decrypt them."""
        rows: QuerySet[AuditStream] = super().get_queryset(request).defer("secret", "former_secret")
        return rows


@admin.register(AuditExport)
class AuditExportAdmin(IdSearchMixin, ReadOnlyAdmin):
    """Who had the log put into a file; the file itself is the organisation's alone."""

    list_display = ("created_at", "org_id", "requested_by_id", "format", "state", "entries", "size_bytes", "expires_at")
    list_filter = ("state",)
    search_fields = ("org_id", "id", "requested_by_id")
    search_help_text = "A whole id of an organisation, an export or whoever asked for it"
    exclude = ("wanted",)
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AuditExport]:
        """Without the filter: to show a list is no reason to decrypt it."""
        rows: QuerySet[AuditExport] = super().get_queryset(request).defer("wanted")
        return rows


@admin.register(AuditRetention)
class AuditRetentionAdmin(IdSearchMixin, ReadOnlyAdmin):
    """Which organisations keep their log for less than the system does; theirs to change."""

    list_display = ("org_id", "days", "updated_at")
    search_fields = ("org_id",)
    search_help_text = "A whole id of an organisation"
    ordering = ("-updated_at",)


@admin.register(SystemStream)
class SystemStreamAdmin(ReadOnlyAdmin):
    """Whether the operator's own receiver gets all that is sealed."""

    list_display = ("id", "sent_at", "attempts", "failing_since", "retry_at", "last_error")
    ordering = ("id",)
