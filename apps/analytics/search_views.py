"""The page of the search, and its results as the palette holds them."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.web import capabilities, org_page
from apps.analytics.search import LONGEST, find
from apps.identity.web import user_id_of

__all__ = ["search_list", "search_page"]


def _found(request: HttpRequest) -> dict[str, Any]:
    org = request.org  # type: ignore[attr-defined]
    text = request.GET.get("q", "").strip()[:LONGEST]
    groups = find(
        org_id=org.id, slug=org.slug, user_id=user_id_of(request), capabilities=capabilities(request), text=text
    )
    return {"text": text, "groups": groups, "number": sum(len(group.items) for group in groups)}


@org_page(capability="org.read", title="Search")
@never_cache
@require_safe
def search_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/search?q=``: people, teams, projects, views, settings, the guide, and sessions and events by id."""
    return render(request, "analytics/search.html", _found(request))


@org_page(capability="org.read", title="Search")
@never_cache
@require_safe
def search_list(request: HttpRequest) -> HttpResponse:
    """The same as options of the palette."""
    return render(request, "analytics/search_options.html", _found(request))
