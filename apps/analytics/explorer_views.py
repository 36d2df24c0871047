"""Pages of the usage explorer."""

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from apps.accounts.web import org_page
from apps.analytics.explorer import Explorer, explore
from apps.analytics.explorer_filters import Value, dimensions_of, filter_words, values_of
from apps.analytics.explorer_query import GRAINS, METRICS, VIEWS, Query, query_of
from apps.analytics.export import csv_response
from apps.analytics.period import PERIODS
from apps.usage.granted import given_to, given_usage, narrowed
from apps.usage.store import as_of

__all__ = ["usage_csv", "usage_page"]

_HOURS_MOST_DAYS = 7
# Columns of the table that can lead its order: key in the address → words, whether they are told on a phone.
_COLUMNS = (
    ("change", "Change", ""), ("", "By time", "mw-hide-s"), ("share", "Share", "mw-hide-s"),
    ("calls", "Calls", "mw-hide-s"), ("per_call", "A call", "mw-hide-s"), ("p95", "p95", "mw-hide-s"),
    ("errors", "Errors", "mw-hide-s"),
)  # fmt: skip


@org_page(capability="usage.read", title="Usage", key="usage", granted=given_usage)
@require_safe
def usage_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/usage``: any metric by anything, and what it is made of. The address is the whole state."""
    org = request.org  # type: ignore[attr-defined]
    dimensions = dimensions_of(org.id)
    query = _query(request, dimensions)
    if "pick" in request.GET:
        return _picked(request, query, dimensions)
    page = explore(org_id=org.id, query=query)
    context = _bar(query, dimensions) | {"page": page, "query": query, "period": query.period}
    context["as_of"] = as_of(org.id)
    context["link"] = request.build_absolute_uri(f"{request.path}?{query.address()}".rstrip("?"))
    context["said"] = parse_qsl(query.address())
    context["chips"] = filter_words(org.id, query)
    context["columns"] = [
        (key, words, css, query.address(sort=key)) for key, words, css in _COLUMNS if _told(key, page)
    ]
    name = request.GET.get("add", "")
    if name in dimensions:
        context["adding"] = {
            "name": name,
            "label": dimensions[name],
            "values": _values(request, query, name),
        }
    return render(request, "analytics/usage.html", context)


def _values(request: HttpRequest, query: Query, name: str) -> list[Value]:
    """What can be chosen for a filter; of projects those whose usage the reader may see."""
    values = values_of(org_id=request.org.id, query=query, name=name)  # type: ignore[attr-defined]
    given = given_to(request)
    return values if given is None or name != "project" else [one for one in values if one.key in given]


def _query(request: HttpRequest, dimensions: dict[str, str]) -> Query:
    tags = [name.removeprefix("tag:") for name in dimensions if name.startswith("tag:")]
    query = query_of(request.GET, timezone=request.org.timezone, tags=tags)  # type: ignore[attr-defined]
    given = given_to(request)
    if given is None:
        return query
    filters = {name: tuple(values) for name, values in narrowed(query.filters, given).items()}
    return replace(query, filters=filters)


def _picked(request: HttpRequest, query: Query, dimensions: dict[str, str]) -> HttpResponse:
    """The filter form was sent: its boxes become the address of the view."""
    name = request.GET["pick"]
    filters: Any = query.filters
    if name in dimensions:
        filters = query.with_filter(name, (value[:200] for value in request.GET.getlist("value")))
    return redirect(f"{request.path}?{query.address(filters=filters)}")


def _told(key: str, page: Explorer) -> bool:
    if key == "change":
        return page.before is not None
    return not (key == "" and page.heat is not None)


def _bar(query: Query, dimensions: dict[str, str]) -> dict[str, Any]:
    """The choices of the filter bar: words, address, whether chosen."""
    hours = len(query.period.days) <= _HOURS_MOST_DAYS
    grains = [key for key in GRAINS if key != "hour" or hours]
    return {
        "metrics": [(words[0], query.address(metric=key), key == query.metric) for key, words in METRICS.items()],
        "groups": [(words, query.address(by=key), key == query.by) for key, words in dimensions.items()],
        "by_words": dimensions.get(query.by, query.by),
        "periods": [(words, query.address(period=key), key == query.period.key) for key, words in PERIODS.items()],
        "grains": [(GRAINS[key], query.address(grain=key), key == query.grain) for key in grains],
        "views": [(words, query.address(view=key), key == query.view) for key, words in VIEWS.items()],
        "compare": query.address(compare=not query.compare),
        "adds": [(words, f"{query.address()}&add={key}".lstrip("&")) for key, words in dimensions.items()],
        "clear": query.address(filters={}),
        "address": query.address(),
        "state": parse_qsl(query.address()),
        "hours": [f"{hour:02}" for hour in range(24)],
        "by_name": query.address(sort="name"),
        "by_amount": query.address(sort="amount"),
        "newer": query.address(page=query.page - 1) if query.page > 1 else None,
        "older": query.address(page=query.page + 1),
    }


@org_page(capability="usage.read", title="Usage", key="usage", granted=given_usage)
@require_safe
def usage_csv(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/usage.csv``: the table of the view with all its lines, or with ``part=time`` what the chart shows."""
    org = request.org  # type: ignore[attr-defined]
    query = _query(request, dimensions_of(org.id))
    page = explore(org_id=org.id, query=query, everything=True)
    name = f"{org.slug}-usage-{query.metric}-by-{query.by.replace(':', '-')}-{query.period.first}-{query.period.last}"
    if request.GET.get("part") == "time":
        rows = [
            [start.isoformat(), *(line.values[i] for line in page.series), page.ghost[i] if page.ghost else None]
            for i, start in enumerate(page.buckets)
        ]
        return csv_response(f"{name}-{query.grain}", ["start", *(line.name for line in page.series), "earlier"], rows)
    header = [
        query.by, "id", query.metric, "earlier", "cost_usd", "calls", "tool_calls", "errors", "input_tokens",
        "output_tokens", "cache_read_tokens", "cache_creation_tokens", "latency_ms_p50", "latency_ms_p95", "unpriced",
    ]  # fmt: skip
    lines = [
        [
            line.name, line.key, line.amount, line.before, f.cost, f.calls, f.tool_calls, f.errors, f.input_tokens,
            f.output_tokens, f.cache_read_tokens, f.cache_creation_tokens, f.p50, f.p95, f.unpriced,
        ]
        for line in page.lines for f in (line.figures,)
    ]  # fmt: skip
    return csv_response(name, header, lines)
