"""Where a visit starts (the public page, one's home, a new organisation), and an organisation's general settings."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts import impersonation, selectors, services
from apps.accounts.forms import OrganizationForm, SettingsForm
from apps.accounts.web import can, org_page
from apps.core.errors import MindWeaveError, NotFound, PermissionDenied
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import user_id_of

__all__ = ["impersonation_end", "settings_page", "start", "welcome"]


@require_safe
@never_cache
def start(request: HttpRequest) -> HttpResponse:
    """``/``: the public page; signed in, the way to one's organisation, or to making the first one."""
    if not request.user.is_authenticated:
        return render(request, "accounts/landing.html")
    org_id = selectors.default_org_id(user_id_of(request))
    return redirect("/welcome" if org_id is None else f"/o/{selectors.org_get(org_id).slug}/")


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def welcome(request: HttpRequest) -> HttpResponse:
    """``/welcome``: make an organisation, then go on to its first event. ``?new=1`` makes another one."""
    if request.method != "POST" and "new" not in request.GET:
        org_id = selectors.default_org_id(user_id_of(request))
        if org_id is not None:
            return redirect("first_run", selectors.org_get(org_id).slug)
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            org = services.create_organization(owner_id=user_id_of(request), **form.cleaned_data)
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            return redirect("first_run", org.slug)
    status = 400 if form.errors else 200
    return render(request, "accounts/welcome.html", {"form": form}, status=status)


@require_POST
def impersonation_end(request: HttpRequest) -> HttpResponse:
    """``/impersonation/end``: staff are themselves again, and back at the organisation's page of the staff admin."""
    if not request.user.is_authenticated:
        return redirect("/login")
    org_id = impersonation.end(request=request)
    if org_id is None:
        raise NotFound()
    return redirect("admin:accounts_organization_change", org_id)


# ---------------------------------------------------------------- settings
@org_page(capability="org.read", title="Settings", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings``: name, short name and time zone, and the facts."""
    org = request.org  # type: ignore[attr-defined]
    initial = {"name": org.name, "slug": org.slug, "timezone": org.timezone}
    form = SettingsForm(request.POST or None, initial=initial, present=org.timezone)
    if request.method == "POST":
        if not can(request, "org.update"):
            raise PermissionDenied("Your role lacks 'org.update' here")
        if form.is_valid():
            try:
                changed = services.update_organization(org_id=org.id, changes=_given(form.cleaned_data))
            except MindWeaveError as error:
                if error.code == "slug_taken":
                    form.add_error("slug", f"{sentence(error)}.")
                else:
                    add_problem(form, error)
            else:
                messages.success(request, "Saved.")
                return redirect("settings", changed.slug)
    context = {"tab": "general", "form": form, "may_update": can(request, "org.update")}
    return render(request, "accounts/settings.html", context, status=400 if form.errors else 200)


def _given(data: dict[str, str]) -> dict[str, str]:
    """A short name left empty is the present one."""
    return {name: value for name, value in data.items() if name != "slug" or value}
