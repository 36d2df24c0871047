"""Pages of saved views: the list of them, and the forms that make, change and delete them."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web import can, org_page
from apps.analytics import saved, services
from apps.analytics.contracts import ViewInfo
from apps.analytics.page_state import PAGES, normal_or_none
from apps.core.errors import MindWeaveError, NotFound, PermissionDenied
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import user_id_of

__all__ = ["ViewForm", "address_of", "save_address", "view_change", "view_delete", "views_page"]


class ViewForm(forms.Form):
    """A new view: the page and its state travel hidden."""

    page = forms.ChoiceField(choices=[(key, page.label) for key, page in PAGES.items()], widget=forms.HiddenInput)
    query = forms.CharField(required=False, widget=forms.HiddenInput)
    name = forms.CharField(
        label="Name", max_length=80,
        widget=forms.TextInput(attrs={"autocomplete": "off", "placeholder": "Spend by team, last 7 days"}),
    )  # fmt: skip
    is_shared = forms.BooleanField(required=False, label="Share with the organisation")
    is_default = forms.BooleanField(required=False, label="Open the page with it, for me")


def address_of(slug: str, view: ViewInfo) -> str:
    """Where a view leads: the page's own address."""
    return f"{reverse(view.page, args=[slug])}?{view.query}"


@org_page(capability="view.save", title="Saved views")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def views_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/views``: all views that a person may see; with ``page`` and ``query`` the form that saves one."""
    org = request.org  # type: ignore[attr-defined]
    form = None
    if request.method == "POST":
        form = ViewForm(request.POST)
        view = _create(request, form) if form.is_valid() else None
        if view is not None:
            messages.success(request, f"{view.name} is saved.")
            return redirect(address_of(org.slug, view))
    elif request.GET.get("page") in PAGES:
        form = ViewForm(initial={"page": request.GET["page"], "query": _state(request)})
    rows = saved.view_list(org_id=org.id, user_id=user_id_of(request))
    context = {
        "form": form,
        "form_page": PAGES.get(form["page"].value() or "") if form else None,
        "groups": [(page, [_dressed(request, row) for row in rows if row.page == page.key]) for page in PAGES.values()],
        "any": bool(rows),
        "may_share": can(request, "view.manage"),
    }
    return render(request, "analytics/views.html", context, status=400 if form and form.errors else 200)


def _state(request: HttpRequest) -> str:
    """The page's state out of the address: in ``query``, in the normal form; nonsense counts as none."""
    return normal_or_none(request.GET["page"], request.GET.get("query", "")) or ""


def _create(request: HttpRequest, form: ViewForm) -> ViewInfo | None:
    org = request.org  # type: ignore[attr-defined]
    try:
        return services.create_view(org_id=org.id, user_id=user_id_of(request), **form.cleaned_data)
    except PermissionDenied:
        raise
    except MindWeaveError as error:
        if error.code in {"view_name_taken"}:
            form.add_error("name", f"{sentence(error)}.")
        else:
            add_problem(form, error)
    return None


def _dressed(request: HttpRequest, row: ViewInfo) -> dict[str, Any]:
    mine = row.owner_id == user_id_of(request)
    return {
        "view": row,
        "address": address_of(request.org.slug, row),  # type: ignore[attr-defined]
        "mine": mine,
        "may_change": mine or can(request, "view.manage"),
        "may_unshare": row.is_shared and row.owner_id is not None and (mine or can(request, "view.manage")),
    }


@org_page(capability="view.save", title="Saved views")
@require_POST
def view_change(request: HttpRequest, view_id: UUID) -> HttpResponse:
    """One thing of a view: another name, the state that a page has now, shared or not, the default or not."""
    org = request.org  # type: ignore[attr-defined]
    changes: dict[str, Any] = {name: request.POST[name] for name in ("name", "query") if name in request.POST}
    changes |= {name: request.POST[name] == "on" for name in ("is_shared", "is_default") if name in request.POST}
    try:
        view = services.update_view(org_id=org.id, user_id=user_id_of(request), view_id=view_id, changes=changes)
    except (PermissionDenied, NotFound):
        raise
    except MindWeaveError as error:
        messages.error(request, f"{_said(error)}.")
        return redirect("views", org.slug)
    messages.success(request, _done(view, changes))
    return redirect(
        address_of(org.slug, view) if request.POST.get("back") == "page" else reverse("views", args=[org.slug])
    )


def _said(error: MindWeaveError) -> str:
    return "; ".join(item["detail"] for item in error.errors) or sentence(error)


def _done(view: ViewInfo, changes: dict[str, Any]) -> str:
    if "is_default" in changes:
        page = PAGES[view.page].label
        return f"{page} opens with {view.name} now." if view.is_default else f"{page} opens as it was made again."
    if "is_shared" in changes:
        return f"{view.name} is {'shared with the organisation' if view.is_shared else 'private'} now."
    return f"{view.name} is {'renamed' if 'name' in changes else 'updated'}."


@org_page(capability="view.save", title="Saved views")
@require_POST
def view_delete(request: HttpRequest, view_id: UUID) -> HttpResponse:
    """Delete a view."""
    org = request.org  # type: ignore[attr-defined]
    view = saved.view_get(org_id=org.id, user_id=user_id_of(request), view_id=view_id)
    services.delete_view(org_id=org.id, user_id=user_id_of(request), view_id=view_id)
    messages.success(request, f"{view.name} is deleted.")
    return redirect("views", org.slug)


def save_address(slug: str, page: str, state: str) -> str:
    """Where the form that saves a state stands."""
    return f"{reverse('views', args=[slug])}?{urlencode({'page': page, 'query': state})}"
