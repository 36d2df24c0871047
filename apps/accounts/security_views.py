"""``/o/<slug>/settings/security``: whether the organisation requires a second factor; and the page of who lacks one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts import factors, selectors, services
from apps.accounts.web import can, org_page
from apps.audit import retention
from apps.audit import selectors as audit
from apps.audit import services as audit_services
from apps.core.errors import MindWeaveError, ValidationFailed
from apps.core.problems import problem_response, wants_html
from apps.core.web.forms import sentence
from apps.identity.selectors import user_has_second_factor
from apps.identity.web import step_up_required

__all__ = ["audit_retention_change", "factor_missing", "security_change", "security_page"]

_SHOWN = 50


@org_page(capability="org.read", title="Security", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD"])
def security_page(request: HttpRequest) -> HttpResponse:
    """What is required, and of those who may change it, who has no second factor yet."""
    org = request.org  # type: ignore[attr-defined]
    may_update = can(request, "org.update")
    missing = factors.members_without_factor(org.id) if may_update else []
    context = {
        "tab": "security",
        "may_update": may_update,
        "missing": missing[:_SHOWN],
        "missing_count": len(missing),
        "more": max(0, len(missing) - _SHOWN),
        "total": selectors.member_count(org.id),
        "may_keep": can(request, "audit.manage"),
        "kept": audit.retention_days(),
        "kept_least": retention.least_days(),
        "kept_most": retention.most_days(),
    }
    return render(request, "accounts/security.html", context)


@org_page(capability="org.update", title="Security", key="settings", personal=True)
@step_up_required
@require_POST
def security_change(request: HttpRequest) -> HttpResponse:
    """Require a second factor, or no longer."""
    org = request.org  # type: ignore[attr-defined]
    try:
        changed = services.update_organization(
            org_id=org.id, changes={"requires_mfa": request.POST.get("requires_mfa") == "1"}
        )
    except MindWeaveError as error:
        messages.error(request, sentence(error))
    else:
        said = "Everybody needs" if changed.requires_mfa else "Nobody needs"
        messages.success(request, f"{said} a second factor here from now on.")
    return redirect("settings_security", org.slug)


@org_page(capability="audit.manage", title="Security", key="settings", personal=True)
@step_up_required
@require_POST
def audit_retention_change(request: HttpRequest) -> HttpResponse:
    """Keep the audit log for so many days; empty: for as long as the system does."""
    org = request.org  # type: ignore[attr-defined]
    said = request.POST.get("days", "").strip()
    days = int(said) if said.isascii() and said.isdigit() and len(said) < 6 else None
    try:
        if said and days is None:
            raise ValidationFailed("The days cannot be read", errors=[{"pointer": "/days", "detail": "a number"}])
        audit_services.set_retention(org_id=org.id, days=days)
    except MindWeaveError as error:
        messages.error(request, f"{sentence(error)}.")
    else:
        messages.success(request, "Saved. What is older goes in the night, for good.")
    return redirect(f"{reverse('settings_security', args=[org.slug])}#audit-kept")


def factor_missing(request: HttpRequest, org: Any, error: MindWeaveError) -> HttpResponse:
    """The answer to a member whose sign-in lacks the second factor: a page that leads to one, and back."""
    if not wants_html(request) or request.headers.get("HX-Request"):
        return problem_response(error, request)
    back = request.get_full_path() if request.method in {"GET", "HEAD"} else f"/o/{org.slug}/"
    context = {"name": org.name, "back": back, "has_factor": user_has_second_factor(request.user)}
    response = render(request, "accounts/factor_missing.html", context, status=error.status)
    response.headers["Cache-Control"] = "no-store"
    return response
