"""Imports for staff, to look at."""

from django.contrib import admin
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin import ReadOnlyAdmin
from apps.usage import models

__all__: list[str] = []


@admin.register(models.Import)
class ImportAdmin(ReadOnlyAdmin):
    list_display = (
        "name", "org", "project", "origin", "state", "percent", "accepted", "duplicates", "rejected", "repeated",
        "created_at", "finished_at",
    )  # fmt: skip
    list_select_related = ("org", "project")
    list_filter = ("state", "origin", ("org", AutocompleteSelectFilter))
    search_fields = ("name", "org__name")
    exclude = ("content_sha256", "idempotency_key")
    ordering = ("-created_at", "-id")


@admin.register(models.ImportProblem)
class ImportProblemAdmin(ReadOnlyAdmin):
    list_display = ("of", "line", "code", "pointer", "detail", "event_id")
    list_select_related = ("of",)
    # Which codes there are would have to be read out of all rows: a file is what one looks for.
    list_filter = (("of", AutocompleteSelectFilter),)
    sortable_by = ()
    ordering = ("-id",)


@admin.register(models.ImportChunk)
class ImportChunkAdmin(ReadOnlyAdmin):
    list_display = ("of", "first_line", "events", "created_at")
    list_select_related = ("of",)
    exclude = ("digest",)
    list_filter = (("of", AutocompleteSelectFilter),)
    sortable_by = ()
    ordering = ("-id",)
