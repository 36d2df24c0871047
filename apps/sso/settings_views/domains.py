"""Domains, and who may sign in without the provider."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import selectors as accounts
from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem, sentence
from apps.identity.web import step_up_required
from apps.sso import selectors, services
from apps.sso.forms import BreakGlassForm, DomainForm
from apps.sso.roles import OWNER
from apps.sso.settings_views.common import CAPABILITY, TITLE, org_of

__all__ = ["break_glass_add", "break_glass_remove", "domain_remove", "domain_verify", "overview"]


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def overview(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/sso``: domains with their records, connections, break-glass owners; a form for a domain."""
    org = org_of(request)
    form = DomainForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _add_domain(request, form)
    return _overview(request, org, form)


@step_up_required
def _add_domain(request: HttpRequest, form: DomainForm) -> HttpResponse:
    org = org_of(request)
    try:
        services.add_domain(org_id=org.id, name=form.cleaned_data["name"])
    except MindWeaveError as error:
        add_problem(form, error)
        return _overview(request, org, form)
    return redirect("sso_settings", org.slug)


def _overview(request: HttpRequest, org: Any, form: DomainForm) -> HttpResponse:
    spared = selectors.break_glass_ids(org.id)
    owners = [one for one in accounts.member_infos(org.id) if one.role == OWNER or one.user_id in spared]
    domains = [selectors.domain_info(row) for row in selectors.domain_list(org.id)]
    context = {
        "tab": "sso",
        "part": "overview",
        "form": form,
        "domains": domains,
        "connections": list(selectors.connection_list(org.id)),
        "spared": [
            {"person": one, "fit": selectors.is_fit_for_break_glass(org_id=org.id, user_id=one.user_id)}
            for one in owners
            if one.user_id in spared
        ],
        "add": BreakGlassForm(people=[one for one in owners if one.user_id not in spared]),
        "grace_days": settings.SSO_DOMAIN_GRACE_DAYS,
        "login_url": f"{settings.PUBLIC_URL.rstrip('/')}/sso/{org.slug}/start",
    }
    return render(request, "sso/overview.html", context, status=400 if form.errors else 200)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def domain_verify(request: HttpRequest, domain_id: UUID) -> HttpResponse:
    """Look for the record of a domain now."""
    try:
        domain = services.verify_domain(org_id=org_of(request).id, domain_id=domain_id)
    except NotFound:
        raise
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, f"{domain.name} is verified.")
    return redirect("sso_settings", org_of(request).slug)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def domain_remove(request: HttpRequest, domain_id: UUID) -> HttpResponse:
    """Give a domain up."""
    services.remove_domain(org_id=org_of(request).id, domain_id=domain_id)
    messages.success(request, "The domain was removed.")
    return redirect("sso_settings", org_of(request).slug)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def break_glass_add(request: HttpRequest) -> HttpResponse:
    """Let an owner sign in without the provider."""
    org = org_of(request)
    form = BreakGlassForm(request.POST, people=accounts.member_infos(org.id))
    if form.is_valid():
        try:
            services.add_break_glass(org_id=org.id, user_id=form.cleaned_data["user_id"])
        except MindWeaveError as error:
            messages.error(request, f"{sentence(error)}.")
    else:
        messages.error(request, "Choose an owner.")
    return redirect("sso_settings", org.slug)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def break_glass_remove(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Take an owner's exemption away."""
    try:
        services.remove_break_glass(org_id=org_of(request).id, user_id=user_id)
    except NotFound:
        raise
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    return redirect("sso_settings", org_of(request).slug)
