"""The page "Usage engine" of the staff admin: what waits, how the shards are, what was refused, who sends."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.defaultfilters import pluralize
from django.template.response import TemplateResponse

from apps.accounts import selectors as accounts
from apps.core.admin import ReadOnlyAdmin, StaffModelAdmin
from apps.core.web import figures
from apps.usage import models
from apps.usage.admin.upkeep import upkeep_problems
from apps.usage.drain.set_aside import put_back
from apps.usage.selectors.engine import (
    NOBODY,
    EngineState,
    day_counts,
    engine_state,
    partition_counts,
    set_aside_state,
    stray_counts,
    unpriced_today,
)
from apps.usage.telemetry import counted

__all__ = ["problems_of"]

TOP = 20
_COUNTERS = {
    "accepted": "mindweave_usage_accepted_events",
    "drained": "mindweave_usage_drained_events",
    "duplicates": "mindweave_usage_duplicate_events",
    "rejected": "mindweave_usage_rejected_events",
    "refused": "mindweave_usage_refused_requests",
    "folded": "mindweave_usage_folded_names",
}

# What the page leads to: the page itself anew, then what its problems are told of in full.
_LISTS = (
    ("admin:usage_shard_changelist", "Look again"),
    ("admin:usage_upkeep_changelist", "Work that fails"),
    ("admin:usage_setaside_changelist", "Batches set aside"),
    ("admin:usage_stall_changelist", "Stalls"),
)

Table = dict[str, Any]


@admin.register(models.Shard)
class ShardAdmin(ReadOnlyAdmin):
    """Its list is the page itself."""

    ordering = ("shard",)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {**self.admin_site.each_context(request), "title": "Usage engine", "opts": self.opts, **_page()}
        return TemplateResponse(request, "staff/engine.html", context)


@admin.register(models.DirectoryChange)
class DirectoryChangeAdmin(ReadOnlyAdmin):
    list_display = ("id", "org_id", "at")
    ordering = ("-id",)


@admin.register(models.Stall)
class StallAdmin(ReadOnlyAdmin):
    list_display = ("shard", "slots", "seen_at", "told_at")
    ordering = ("shard",)


@admin.register(models.SetAside)
class SetAsideAdmin(StaffModelAdmin):
    list_display = ("id", "org_id", "events", "received_at", "set_aside_at", "reason")
    exclude = ("frames",)
    search_fields = ("=org_id",)
    search_help_text = "The id of an organisation"
    sortable_by = ()
    ordering = ("-id",)
    actions = ("try_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("frames")
        return rows

    @admin.action(description="Try again: have them counted")
    def try_again(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        count = put_back(ids=list(queryset.values_list("pk", flat=True)))
        self.message_user(request, f"{count} put back into the inbox. What fails again is set aside again.")


def _page() -> dict[str, Any]:
    state = engine_state()
    counts = counted(*_COUNTERS.values())
    totals = {name: counts[metric] for name, metric in _COUNTERS.items()}
    rows, every = day_counts(top=TOP)
    unpriced = unpriced_today(top=TOP)
    names = accounts.org_names({UUID(row.org_id) for row in rows} | {UUID(org_id) for org_id, _, _ in unpriced})
    return {
        "lists": _LISTS,
        "problems": problems_of(state),
        "figures": [
            ("Events waiting", figures.count(state.events), f"{figures.count(state.batches)} batches"),
            ("Lag", f"{state.lag_seconds:.1f} s", "age of the oldest event that waits"),
            (
                "Counted a second",
                figures.count(round(sum(shard.events_per_second for shard in state.shards))),
                "in the last ten seconds",
            ),
            ("Counted today", figures.count(every.events), f"{figures.count(every.unpriced)} without a price"),
        ],
        "tables": [
            _inbox(state),
            _shards(state),
            _sums("Accepted, counted, not counted again", _since_start(totals)),
            _sums("Events refused, by code", totals["rejected"]),
            _sums("Requests refused, by code", totals["refused"]),
            _sums("Names that count as other, by kind", totals["folded"]),
            _organisations(rows, every.events, names),
            _unpriced(unpriced, names),
            _partitions(),
        ],
    }


def problems_of(state: EngineState) -> list[str]:
    """What is wrong with the engine, a sentence each."""
    said = []
    for shard, slots in sorted(state.stalled.items()):
        which = "No drain works on" if shard == NOBODY else f"Shard {shard} is stuck, with"
        waiting = sum(state.slots[slot].events for slot in slots)
        said.append(f"{which} slots {', '.join(map(str, slots))}: {figures.count(waiting)} events wait.")
    aside = set_aside_state()
    if aside.batches:
        said.append(
            f"{figures.count(aside.events)} event{pluralize(aside.events)} in {figures.count(aside.batches)}"
            f" batch{pluralize(aside.batches, 'es')} could not be counted and are set aside: see Batches set aside."
        )
    said += upkeep_problems()
    strays = {table: rows for table, rows in stray_counts().items() if rows}
    said += [
        f"The filter of ids of shard {shard.shard} is full: counting stays exact and costs more. Give it more memory"
        " (USAGE_DEDUPE_FILTER_BYTES) or more shards."
        for shard in state.shards
        if shard.filter_full
    ]
    said += [f"{table} holds rows that no partition was made for." for table in strays]
    return said


def _table(title: str, headers: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> Table:
    return {"title": title, "table": {"headers": list(headers), "rows": [list(row) for row in rows]}, "empty": empty}


def _inbox(state: EngineState) -> Table:
    owners = {slot: shard.shard for shard in state.shards for slot in shard.slots}
    rows = [
        (
            slot.slot,
            owners.get(slot.slot, "none"),
            figures.count(slot.batches),
            figures.count(slot.events),
            f"{slot.lag_seconds(state.at):.1f} s" if slot.oldest_at else "–",
        )
        for slot in state.slots
    ]
    return _table("Inbox by slot", ("Slot", "Shard", "Batches", "Events", "Oldest"), rows, "")


def _shards(state: EngineState) -> Table:
    rows = [
        (
            shard.shard,
            "stuck" if shard.shard in state.stalled else "ok",
            ", ".join(map(str, shard.slots)),
            _ago(shard.seen_at, state.at),
            _ago(shard.flushed_at, state.at),
            figures.count(round(shard.events_per_second)),
            figures.count(shard.ids),
            f"{shard.filter_bytes / 2**20:.0f} MiB, {'full' if shard.filter_full else 'with room'}",
            shard.segments,
            figures.count(shard.false_positives),
        )
        for shard in state.shards
    ]
    headers = (
        "Shard", "State", "Slots", "Last seen", "Last wrote", "Events a second", "Ids remembered", "Filter of ids",
        "Segments", "False alarms of the filter",
    )  # fmt: skip
    return _table("Shards of the drain", headers, rows, "No drain has ever run.")


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{max(0.0, (now - moment).total_seconds()):.0f} s ago"


def _since_start(totals: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {
        "accepted": sum(totals["accepted"].values()),
        "counted": sum(totals["drained"].values()),
        **{f"again, seen in the {found}": events for found, events in totals["duplicates"].items()},
    }


def _sums(title: str, values: Mapping[str, float]) -> Table:
    rows = [(name or "all", figures.count(value)) for name, value in sorted(values.items(), key=lambda row: -row[1])]
    return _table(f"{title} (since the processes began)", ("What", "How many"), rows, "None.")


def _organisations(rows: Sequence[Any], events: int, names: Mapping[UUID, str]) -> Table:
    lines = [
        (names.get(UUID(row.org_id), row.org_id), *map(figures.count, (row.events, row.calls, row.unpriced)))
        for row in rows
    ]
    rest = events - sum(row.events for row in rows)
    if rest:
        lines.append(("all others", figures.count(rest), "", ""))
    title = "Organisations with most events today (UTC)"
    return _table(title, ("Organisation", "Events", "Calls", "Without a price"), lines, "Nothing was counted today.")


def _unpriced(rows: Sequence[tuple[str, str, int]], names: Mapping[UUID, str]) -> Table:
    lines = [(names.get(UUID(org_id), org_id), model, figures.count(events)) for org_id, model, events in rows]
    title = "Without a price today, by organisation and model"
    return _table(title, ("Organisation", "Model", "Events"), lines, "Every call has its price.")


def _partitions() -> Table:
    strays = stray_counts()
    lines = [
        (name, count, first or "–", last or "–", f"{size / 2**20:.1f} MiB", strays.get(f"{name}_default", 0))
        for name, count, first, last, size in partition_counts()
    ]
    headers = ("Table", "Partitions", "First", "Last", "Size", "Rows astray")
    return _table("Partitions", headers, lines, "None.")
