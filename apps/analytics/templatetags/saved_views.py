"""The menu of saved views on a page, and the tabs that lead to some of them."""

from typing import Any

from django import template
from django.template.context import Context

from apps.accounts.web import can
from apps.analytics import saved
from apps.analytics.contracts import ViewInfo
from apps.analytics.page_state import PAGES, normal, normal_or_none
from apps.analytics.saved_views import ViewForm, address_of, save_address
from apps.identity.web import user_id_of

register = template.Library()


# What Usage is mostly asked, for whoever has no views yet: words → the page's state.
_STARTERS = {
    "Cost by model": "",
    "Cost by project": "by=project",
    "Cost by person": "by=user",
    "Tool errors": "metric=errors&by=mcp_tool",
    "Peak hours": "metric=calls&view=heat",
}
_TABS = 4


@register.inclusion_tag("analytics/views_tabs.html", takes_context=True)
def usage_tabs(context: Context) -> dict[str, Any]:
    """What Usage is mostly asked, for the period of the page, and the first of the views that the person may see."""
    request = context["request"]
    org, period = request.org, context["period"].key
    state = normal_or_none("usage", request.META["QUERY_STRING"])
    rows = _views(request, "usage")
    saved_tabs = [(row.name, address_of(org.slug, row), row.query == state) for row in rows[:_TABS]]
    taken = any(row.query == state for row in rows)
    starters = [(words, normal("usage", f"{query}&period={period}")) for words, query in _STARTERS.items()]
    return {
        "request": request,
        "tabs": [(words, f"?{to}", to == state and not taken) for words, to in starters] + saved_tabs,
        "all": len(rows) if can(request, "view.save") else None,
    }


def _views(request: Any, page: str) -> list[ViewInfo]:
    """The views of a page that the person may see; read once for a request."""
    if not hasattr(request, "mw_views"):
        may = can(request, "view.save")
        request.mw_views = saved.view_list(org_id=request.org.id, user_id=user_id_of(request), page=page) if may else []
    found: list[ViewInfo] = request.mw_views
    return found


@register.inclusion_tag("analytics/views_menu.html", takes_context=True)
def saved_views(context: Context, page: str) -> dict[str, Any]:
    """The views of this page: own, shared, the one that the address is; and the form that saves the address."""
    request = context["request"]
    org, me = request.org, user_id_of(request)
    state = normal_or_none(page, request.META["QUERY_STRING"])
    rows = _views(request, page)
    items: list[dict[str, Any]] = [
        {"view": row, "address": address_of(org.slug, row), "current": row.query == state} for row in rows
    ]
    current = next((item["view"] for item in items if item["current"]), None)
    may_manage = can(request, "view.manage")
    changeable = [row for row in rows if row.owner_id == me or may_manage]
    return {
        "request": request,
        "csrf_token": context.get("csrf_token"),
        "page": PAGES[page],
        "own": [item for item in items if item["view"].owner_id == me],
        "shared": [item for item in items if item["view"].owner_id != me],
        "current": current,
        "updatable": [] if current else changeable[:8],
        "state": state or "",
        "form": ViewForm(initial={"page": page, "query": state or ""}, auto_id="view-%s"),
        "save_address": save_address(org.slug, page, state or ""),
        "may_share": may_manage,
        "may_save": can(request, "view.save"),
    }
