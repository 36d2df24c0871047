"""Settings: the access review."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts import access, services
from apps.accounts.access_api import CSV_HEADER, csv_rows, read_filter
from apps.accounts.access_forms import EveryForm, ReviewForm
from apps.accounts.web import can, org_page
from apps.audit.services import record_read
from apps.core.clock import now
from apps.core.errors import MindWeaveError, PermissionDenied
from apps.core.pagination import decode_cursor, encode_cursor
from apps.core.web.csv import stream_csv
from apps.core.web.forms import add_problem
from apps.identity.web import user_id_of

__all__ = ["access_csv_page", "access_page"]

_PAGE = 50
_UNUSED = (("0", "Used or not"), ("30", "Not used for 30 days"), ("90", "Not used for 90 days"))


@org_page(capability="access.review", title="Access review", key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def access_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/access``: who can do what, one kind at a time, and the form that says it was looked at."""
    org = request.org  # type: ignore[attr-defined]
    every = EveryForm(
        request.POST if "access_review_every" in request.POST else None,
        initial={"access_review_every": org.access_review_every},
    )
    if every.is_bound:
        return _set_every(request, every)
    form = ReviewForm(request.POST or None, initial={"next_due": access.next_review(org.id)})
    if request.method == "POST" and form.is_valid():
        try:
            services.confirm_access_review(org_id=org.id, by_user_id=user_id_of(request), **form.cleaned_data)
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            messages.success(request, "The review is on record.")
            return redirect("access_review", org.slug)
    record_read(what="access review", org_id=org.id)
    context = {**_list(request), "tab": "access", "form": form, **_reviews(org.id)}
    context["every"] = every if can(request, "org.update") else None
    return render(request, "accounts/access.html", context, status=400 if form.errors else 200)


def _set_every(request: HttpRequest, form: EveryForm) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    if not can(request, "org.update"):
        raise PermissionDenied("Your role lacks 'org.update' here")
    if form.is_valid():
        services.update_organization(org_id=org.id, changes=form.cleaned_data)
        messages.success(request, "Saved.")
    else:
        messages.error(request, "Choose how often.")
    return redirect("access_review", org.slug)


def _list(request: HttpRequest) -> dict[str, Any]:
    org = request.org  # type: ignore[attr-defined]
    query = request.GET
    kind, asked = query.get("kind", "members"), read_filter(query)
    source, order = access.source_of(kind), ("access", kind)
    after = decode_cursor(query["cursor"], order=order)[0] if query.get("cursor") else None
    rows, last = access.access_page(
        org_id=org.id, kind=kind, asked=asked, limit=_PAGE, after=UUID(after) if after else None
    )
    kept = {name: query[name] for name in ("unused_days", "admins", "no_second_factor") if query.get(name)}
    chosen = urlencode({"kind": kind, **kept})
    return {
        "kind": kind,
        "source": source,
        "kinds": [(each.title, urlencode({"kind": each.key, **kept}), each.key == kind) for each in access.sources()],
        "rows": rows,
        "next": urlencode({"kind": kind, **kept, "cursor": encode_cursor((last, kind), order=order)}) if last else "",
        "first": f"?{chosen}" if after else "",
        "chosen": chosen,
        "asked": asked,
        "unused": [(days, words, days == str(asked.unused_days)) for days, words in _UNUSED],
        "filtered": bool(kept),
    }


def _reviews(org_id: UUID) -> dict[str, Any]:
    reviews = access.last_reviews(org_id, limit=5)
    due = access.review_due(org_id)
    return {"reviews": reviews, "due": due, "overdue": due is not None and due < now().date()}


@org_page(capability="access.review", title="Access review", key="settings")
@require_safe
def access_csv_page(request: HttpRequest) -> Any:
    """The kind and filter that the page shows, as CSV; every kind where none is named."""
    org = request.org  # type: ignore[attr-defined]
    kinds = [request.GET["kind"]] if request.GET.get("kind") else [source.key for source in access.sources()]
    for kind in kinds:
        access.source_of(kind)
    record_read(what="access review", org_id=org.id, key="csv")
    return stream_csv(f"access-{org.slug}", CSV_HEADER, csv_rows(org.id, kinds, read_filter(request.GET)))
