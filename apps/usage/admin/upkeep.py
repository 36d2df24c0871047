"""Work beside the counting that fails, in the words of those who look after it."""

import re
from typing import Any, Final
from uuid import UUID

from django.contrib import admin
from django.db import connection
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.accounts import selectors as accounts
from apps.core.admin import ReadOnlyAdmin
from apps.core.web.figures import utc_label
from apps.usage import models
from apps.usage.selectors.engine import upkeep_failing

__all__ = ["upkeep_problems"]

# What each work is, and what waits while it fails (docs/operations-usage.md, "Work beside the counting").
_WORKS: Final = {
    "merge": ("Merging chunks", "small chunks of raw events stay small; searches cost more"),
    "tighten": ("Tightening deltas", "readers of the last quarter of an hour add up more rows"),
    "fold": ("Folding deltas", "deltas stay where they are; sums are as right as ever and cost more"),
    "fold_sessions": ("Folding sessions", "sessions show what was folded before"),
    "announce": ("Announcing", "budgets, alert rules and live pages do not hear of what was counted"),
    "merge_ids_open": ("Merging ids of today", "counting looks into more segments"),
    "merge_ids_other": ("Merging ids of earlier days", "counting looks into more segments"),
    "partitions": ("Making partitions", "partitions are made by the hourly job alone"),
    "figures": ("Writing its figures", "the shard seems stuck"),
}
_ORGANISATION = re.compile(r"\borganisation (\d+)\b")


def _name(work: str) -> str:
    return _WORKS[work][0] if work in _WORKS else work


def _meanwhile(work: str) -> str:
    return _WORKS[work][1] if work in _WORKS else "unknown"


def _with_names(reason: str) -> str:
    """The reason with the names of the organisations that it tells by their numbers in the engine."""

    def named(found: re.Match[str]) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT org_id FROM usage_org WHERE id = %s", [found[1]])
            row = cursor.fetchone()
        org_id: UUID | None = row[0] if row else None
        name = accounts.org_names({org_id}).get(org_id) if org_id else None
        return f"{found[0]} ({name or org_id})" if org_id else found[0]

    return _ORGANISATION.sub(named, reason)


def upkeep_problems() -> list[str]:
    """What fails now, since when, why, and what waits meanwhile."""
    return [
        f"{_name(one.work)} ({one.work} of shard {one.shard}) fails since {utc_label(one.since)}:"
        f" {_with_names(one.reason)}. It is tried again by itself; meanwhile {_meanwhile(one.work)}."
        for one in upkeep_failing()
    ]


@admin.register(models.Upkeep)
class UpkeepAdmin(ReadOnlyAdmin):
    list_display = ("what", "shard", "since", "state", "why")
    fields = ("what", "shard", "state", "since", "why", "meanwhile", "what_to_do", "told_at", "ended_at")
    readonly_fields = fields
    sortable_by = ()
    ordering = ("-id",)

    @admin.display(description="Work")
    def what(self, row: models.Upkeep) -> str:
        return f"{_name(row.work)} ({row.work})"

    @admin.display(description="State")
    def state(self, row: models.Upkeep) -> str:
        return "fails" if row.ended_at is None else "succeeds again, not told yet"

    @admin.display(description="Reason")
    def why(self, row: models.Upkeep) -> SafeString:
        return format_html('<span class="mw-whole">{}</span>', _with_names(row.reason))

    @admin.display(description="Meanwhile")
    def meanwhile(self, row: models.Upkeep) -> str:
        return _meanwhile(row.work).capitalize()

    @admin.display(description="What to do")
    def what_to_do(self, row: models.Upkeep) -> str:
        return (
            "It is tried again by itself: after a second, at last every five minutes; what was left out alone, after a"
            " minute, at last every hour. The log of the drain has the traceback."
        )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).order_by("ended_at", "-id")
