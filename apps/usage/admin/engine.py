"""What was counted, and what waits: to look at, never to touch."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.core.admin import ReadOnlyAdmin
from apps.usage import models

__all__: list[str] = []

# What hints hold, which tells nobody anything.
_PACKED = ("combos", "fence", "entries", "who_fence", "who_entries")
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens")


class SumsAdmin(ReadOnlyAdmin):
    """Rows that add up have no identity, so there is no page for a single one."""

    list_display_links = None
    sortable_by = ()

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        return ("-org", f"-{self.model._meta.pk.name}")


@admin.register(models.Org)
class OrgAdmin(ReadOnlyAdmin):
    list_display = ("id", "org_id", "timezone", "created_at")
    exclude = ("salt",)
    search_fields = ("=id",)
    ordering = ("-id",)


@admin.register(models.InboxBatch)
class InboxBatchAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "slot", "org_id", "received_at", "events")
    exclude = ("frames",)
    ordering = ("id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("frames")
        return rows


@admin.register(models.EventChunk)
class EventChunkAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "org", "events", "first_at", "last_at", "drop_on")
    exclude = ("scan", "facts", "texts")
    ordering = ("-org", "-last_at")
    search_fields = ("=org",)
    search_help_text = "The number of an organisation"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("scan", "facts", "texts")
        return rows


@admin.register(models.Hint)
class HintAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "org", "first_at", "last_at", "drop_on", "has_ids")
    exclude = _PACKED
    ordering = ("-id",)
    search_fields = ("=org",)
    search_help_text = "The number of an organisation"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer(*_PACKED)
        return rows


@admin.register(models.Unhinted)
class UnhintedAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("chunk", "org", "drop_on", "events", "since")
    ordering = ("-chunk",)
    search_fields = ("=org",)
    search_help_text = "The number of an organisation"


@admin.register(models.HintMark)
class HintMarkAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "upto", "given")
    ordering = ("id",)


@admin.register(models.IdSegment)
class IdSegmentAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "run", "stripe", "level", "slots", "ids", "first_key", "last_key", "created_at")
    exclude = ("keys",)
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("keys")
        return rows


@admin.register(
    models.RollupDelta, models.RollupMinute, models.RollupQuarter, models.RollupDay, models.RollupDayWhat,
    models.RollupDayWho,
)  # fmt: skip
class RollupAdmin(SumsAdmin):
    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        key = self.model._meta.pk.name
        names = {field.name for field in self.model._meta.fields}
        by = [name for name in ("who", "what", "event_type", "status") if name in names]
        return (key, "org", *by, "events", *_TOKENS, "cost_nano", "reported_nano", "unpriced")


@admin.register(models.Session)
class SessionAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = (
        "session_id",
        "org",
        "started_at",
        "last_at",
        "calls",
        "tool_calls",
        "errors",
        "cost_nano",
        "models",
    )
    ordering = ("-org", "-last_at")


@admin.register(models.SessionPart)
class SessionPartAdmin(SumsAdmin):
    list_display = ("session", "org", "project", "started_at", "last_at", "calls", "tool_calls", "cost_nano")


@admin.register(models.SessionDelta)
class SessionDeltaAdmin(SumsAdmin):
    list_display = ("session_id", "org", "models", "started_at", "last_at", "calls", "tool_calls", "cost_nano")


@admin.register(models.Who)
class WhoAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "org", "project_id", "team_id", "person_id", "key_id", "tagset")
    ordering = ("-id",)


@admin.register(models.What)
class WhatAdmin(ReadOnlyAdmin):
    list_display = (
        "id", "event_type", "model", "service_tier", "batch", "geo", "speed", "context_band", "mcp_server", "mcp_tool",
        "source", "status",
    )  # fmt: skip
    list_filter = ("event_type", "status")
    search_fields = ("model", "mcp_server", "mcp_tool")
    ordering = ("-id",)


@admin.register(models.TagKey)
class TagKeyAdmin(ReadOnlyAdmin):
    list_display = ("key", "org_id", "created_at")
    ordering = ("-id",)


@admin.register(models.TagValue)
class TagValueAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("key", "value", "org_id")
    ordering = ("-id",)


@admin.register(models.TagSet)
class TagSetAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "org", "tags")
    ordering = ("-id",)


@admin.register(models.Summary)
class SummaryAdmin(ReadOnlyAdmin):
    sortable_by = ()
    list_display = ("id", "org_id", "data")
    ordering = ("id",)


@admin.register(models.Person)
class PersonAdmin(ReadOnlyAdmin):
    list_display = ("email", "name", "org_id", "claimed_by", "first_seen_at", "claimed_at")
    search_fields = ("email", "name")
    ordering = ("-first_seen_at",)
