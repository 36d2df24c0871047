"""Usage on an organisation's page in the staff admin: what it counted, and what is under way for it."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection
from django.db.models import Q
from django.urls import reverse

from apps.accounts.selectors import org_zone
from apps.core.clock import now
from apps.core.money import nano_to_str
from apps.core.registry import PanelContent
from apps.core.web.figures import count, day_label, money, utc_label
from apps.usage import store
from apps.usage.imports.selectors import import_list
from apps.usage.models import Reprice
from apps.usage.models.imports import UNFINISHED
from apps.usage.selectors import Metrics, usage_aggregate

__all__ = ["usage_panel", "work_panel"]

DAYS = 14
SHOWN = 20


def usage_panel(org_id: UUID) -> PanelContent:
    """Sums of today, seven days and this month, and the last fourteen days, all cut in the organisation's time zone."""
    zone, number = ZoneInfo(org_zone(org_id)), store.org_number(org_id)
    today = now().astimezone(zone).date()
    days = _days(org_id, zone, min(today.replace(day=1), today - timedelta(days=DAYS - 1)), today)
    week = [days.get(today - timedelta(days=n), Metrics()) for n in range(7)]
    month = [found for day, found in days.items() if (day.year, day.month) == (today.year, today.month)]
    return PanelContent(
        figures=[
            _figure("Cost today", week[:1]),
            _figure("Cost in seven days", week),
            _figure(f"Cost in {today:%B}", month),
            ("Last event", *_last_event(number)),
        ],
        headers=("Day", "Events", "Calls", "Errors", "Without a price", "Cost"),
        rows=[_row(day, days.get(day, Metrics())) for day in (today - timedelta(days=n) for n in range(DAYS))],
        numbers=(1, 2, 3, 4, 5),
        note=f"Days in {zone.key.replace('_', ' ')}",
        links=_lists(org_id, number),
    )


def _days(org_id: UUID, zone: ZoneInfo, first: date, last: date) -> dict[date, Metrics]:
    answer = usage_aggregate(
        org_id=org_id, start=datetime.combine(first, time(), zone),
        end=datetime.combine(last + timedelta(days=1), time(), zone), timezone=zone.key, org_timezone=zone.key,
        granularity="day", latency=False,
    )  # fmt: skip
    return {row.start.astimezone(zone).date(): row.metrics for row in answer.data if row.start}


def _figure(label: str, days: Sequence[Metrics]) -> tuple[str, str, str]:
    events, calls, unpriced = (sum(getattr(day, name) for day in days) for name in ("events", "calls", "unpriced"))
    said = [f"{count(events)} events", f"{count(calls)} calls"]
    if unpriced:
        said.append(f"{count(unpriced)} without a price")
    return label, money(nano_to_str(sum(day.cost_nano for day in days))), ", ".join(said)


def _row(day: date, sums: Metrics) -> tuple[str, ...]:
    figures = map(count, (sums.events, sums.calls, sums.errors, sums.unpriced))
    return (day_label(day, year=True), *figures, money(sums.cost_usd))


def _last_event(number: int | None) -> tuple[str, str]:
    """When the newest event was, as exactly as it is still known; by index, whatever the organisation's size."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT max(last_at) FROM usage_chunk WHERE org = %(org)s),"
            " greatest((SELECT max(minute) FROM usage_delta_pack WHERE org = %(org)s),"
            " (SELECT max(bucket) FROM usage_rollup_quarter WHERE org = %(org)s))",
            {"org": number},
        )
        exact, about = cursor.fetchone()
    if exact or about:
        at: datetime = exact or about
        return day_label(at, year=True), f"{at:%H:%M:%S} UTC" if exact else f"about {at:%H:%M} UTC"
    return "Never", "nothing was counted yet"


def _lists(org_id: UUID, number: int | None) -> list[tuple[str, str]]:
    links = [("Prices of its own", f"{reverse('admin:usage_price_changelist')}?org__id__exact={org_id}")]
    if number is not None:
        links.insert(0, ("All sessions", f"{reverse('admin:usage_session_changelist')}?org={number}"))
        links.insert(1, ("Sums by day", f"{reverse('admin:usage_rollupday_changelist')}?org={number}"))
    return links


def work_panel(org_id: UUID) -> PanelContent:
    """Imports and repricings that are not over; a repricing of all organisations is one of this one, too."""
    imports = import_list(org_id=org_id).filter(state__in=UNFINISHED).order_by("-created_at")[:SHOWN]
    open_ = Q(state__in=("queued", "running")) & (Q(org_id=org_id) | Q(org_id__isnull=True))
    rows = [
        ("Import", row.name, row.state, f"{row.percent:g}%, {count(row.accepted)} counted", utc_label(row.created_at))
        for row in imports
    ]
    for row in Reprice.objects.filter(open_).order_by("-created_at")[:SHOWN]:
        far = f"{count(row.looked_at)} events looked at, {count(row.changed)} changed"
        rows.append(("Repricing", row.model or "all models", row.state, far, utc_label(row.created_at)))
    imported, repriced = reverse("admin:usage_import_changelist"), reverse("admin:usage_reprice_changelist")
    return PanelContent(
        headers=("Kind", "What", "State", "How far", "Since"),
        rows=rows,
        empty="Nothing is under way.",
        links=[
            ("All imports", f"{imported}?org__id__exact={org_id}"),
            ("All repricings", f"{repriced}?org_id={org_id}"),
        ],
    )
