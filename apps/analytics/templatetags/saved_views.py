"""The menu of saved views on a page."""

from typing import Any

from django import template
from django.template.context import Context

from apps.accounts.web import can
from apps.analytics import saved
from apps.analytics.page_state import PAGES, normal_or_none
from apps.analytics.saved_views import ViewForm, address_of, save_address
from apps.identity.web import user_id_of

register = template.Library()


@register.inclusion_tag("analytics/views_menu.html", takes_context=True)
def saved_views(context: Context, page: str) -> dict[str, Any]:
    """The views of this page: own, shared, the one that the address is; and the form that saves the address."""
    request = context["request"]
    org, me = request.org, user_id_of(request)
    state = normal_or_none(page, request.META["QUERY_STRING"])
    rows = saved.view_list(org_id=org.id, user_id=me, page=page) if can(request, "view.save") else []
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
