"""Repricings, with their progress."""

from django.contrib import admin

from apps.core.admin import ReadOnlyAdmin
from apps.usage import models

__all__: list[str] = []


@admin.register(models.Reprice)
class RepriceAdmin(ReadOnlyAdmin):
    list_display = (
        "created_at", "org_id", "model", "only_unpriced", "state", "looked_at", "changed", "left_alone", "cost_before",
        "cost_after", "error",
    )  # fmt: skip
    list_filter = ("state",)
    ordering = ("-created_at",)
