"""Your account → Organisations: those you belong to, the one that is meant, and those that can be restored."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts import selectors, services
from apps.accounts.contracts import OwnOrg
from apps.core.errors import MindWeaveError
from apps.core.web.forms import sentence
from apps.identity.web import account_context, user_id_of

__all__ = ["account_organisations", "organisation_default", "organisation_restore"]


@login_required
@never_cache
@require_safe
def account_organisations(request: HttpRequest) -> HttpResponse:
    """``/account/organisations``: every organisation of the person, deleted ones among them."""
    mine: list[OwnOrg] = selectors.own_orgs(user_id_of(request))
    context = {
        **account_context("organisations"),
        "orgs": [one for one in mine if not one.is_deleted],
        "deleted": [one for one in mine if one.is_deleted],
    }
    return render(request, "accounts/organisations.html", context)


@login_required
@require_POST
def organisation_default(request: HttpRequest, org_id: UUID) -> HttpResponse:
    """Mean this organisation from now on: where a visit starts, and where the API is told none."""
    services.choose_default_organization(user_id=user_id_of(request), org_id=org_id)
    messages.success(request, "Saved.")
    return redirect("account_organisations")


@login_required
@require_POST
def organisation_restore(request: HttpRequest, org_id: UUID) -> HttpResponse:
    """Bring a deleted organisation back."""
    try:
        org = services.restore_organization(org_id=org_id, by_user_id=user_id_of(request))
    except MindWeaveError as error:
        if error.status in (403, 404):
            raise
        messages.error(request, f"{sentence(error)}.")
        return redirect("account_organisations")
    messages.success(request, f"{org.name} is back, as it was.")
    return redirect("account_organisations")
