"""The page of costs."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from apps.accounts.web import can, org_page
from apps.analytics.costs import KINDS, costs
from apps.analytics.export import csv_response
from apps.analytics.period import PERIODS, period_of
from apps.usage.granted import given_to, given_usage

__all__ = ["costs_csv", "costs_page"]


@org_page(capability="usage.read", title="Costs", key="costs", granted=given_usage)
@require_safe
def costs_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/costs``: what was paid for, by kind of token and by model, and month over month.

    Whoever was given the usage of single projects alone sees the bill of these.
    """
    org = request.org  # type: ignore[attr-defined]
    period = period_of(request.GET.get("period") or "month", org.timezone)
    page = costs(org_id=org.id, period=period, projects=given_to(request))
    groups = (("model", "model"), ("team", "team"), ("project", "project"), ("user", "person"), ("key", "key"))
    context = {
        "page": page, "period": period, "periods": PERIODS, "kinds": KINDS.values(), "groups": groups,
        "may_see_prices": can(request, "price.read"),
    }  # fmt: skip
    return render(request, "analytics/costs.html", context)


@org_page(capability="usage.read", title="Costs", key="costs", granted=given_usage)
@require_safe
def costs_csv(request: HttpRequest, part: str) -> HttpResponse:
    """``/o/<slug>/costs/<part>.csv``: ``models`` of the period, or ``months``; exact; of what the page shows."""
    org = request.org  # type: ignore[attr-defined]
    period = period_of(request.GET.get("period") or "month", org.timezone)
    page = costs(org_id=org.id, period=period, projects=given_to(request))
    if part == "months":
        rows = [
            [month.first.strftime("%Y-%m"), month.figures.cost, month.figures.calls, month.figures.tokens,
             month.figures.unpriced]
            for month in page.months
        ]  # fmt: skip
        return csv_response(f"{org.slug}-costs-by-month", ["month", "cost_usd", "calls", "tokens", "unpriced"], rows)
    header = ["model", *(f"{kind}_usd" for kind in KINDS), "other_usd", "cost_usd", "events", "unpriced"]
    lines = [
        [line.name, *line.cells, line.other, line.total, line.events, line.unpriced]
        for line in [*page.models, page.total]
    ]
    return csv_response(f"{org.slug}-costs-{period.first}-{period.last}", header, lines)
