"""Where a visit starts (the public page, one's home, a new organisation), and an organisation's general settings."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts import impersonation, selectors, services
from apps.accounts.forms import DeleteForm, OrganizationForm, SettingsForm
from apps.accounts.web import can, org_page
from apps.core.errors import Conflict, MindWeaveError, NotFound, PermissionDenied
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import step_up_required, user_id_of

__all__ = ["impersonation_end", "settings_delete", "settings_leave", "settings_page", "start", "welcome"]


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
    """``/o/<slug>/settings``: name and time zone, the facts, leaving and deleting."""
    org = request.org  # type: ignore[attr-defined]
    initial = {"name": org.name, "timezone": org.timezone}
    form = SettingsForm(request.POST or None, initial=initial, present=org.timezone)
    if request.method == "POST":
        if not can(request, "org.update"):
            raise PermissionDenied("Your role lacks 'org.update' here")
        if form.is_valid():
            try:
                services.update_organization(org_id=org.id, changes=form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
            else:
                messages.success(request, "Saved.")
                return redirect("settings", org.slug)
    return _settings(request, form, DeleteForm(slug=org.slug, auto_id="delete_%s"))


def _settings(request: HttpRequest, form: SettingsForm, delete: DeleteForm) -> HttpResponse:
    context = {
        "tab": "general",
        "form": form,
        "delete": delete,
        "may_update": can(request, "org.update"),
        "may_delete": can(request, "org.delete"),
    }
    status = 400 if form.errors or delete.errors else 200
    return render(request, "accounts/settings.html", context, status=status)


@org_page(capability="org.read", title="Settings", key="settings", personal=True)
@require_POST
def settings_leave(request: HttpRequest) -> HttpResponse:
    """Leave the organisation; the last owner stays and is told why."""
    org = request.org  # type: ignore[attr-defined]
    try:
        services.remove_member(org_id=org.id, user_id=user_id_of(request), by_user_id=user_id_of(request))
    except Conflict as error:
        messages.error(request, f"{sentence(error)}. Make somebody else an owner first, or delete the organisation.")
        return redirect("settings", org.slug)
    messages.success(request, f"You left {org.name}.")
    return redirect("start")


@org_page(capability="org.delete", title="Settings", key="settings", personal=True)
@step_up_required
@require_POST
def settings_delete(request: HttpRequest) -> HttpResponse:
    """Delete the organisation, once its short name was typed."""
    org = request.org  # type: ignore[attr-defined]
    delete = DeleteForm(request.POST, slug=org.slug, auto_id="delete_%s")
    if not delete.is_valid():
        form = SettingsForm(initial={"name": org.name, "timezone": org.timezone}, present=org.timezone)
        return _settings(request, form, delete)
    services.delete_organization(org_id=org.id)
    messages.success(request, f"{org.name} is deleted.")
    return redirect("start")
