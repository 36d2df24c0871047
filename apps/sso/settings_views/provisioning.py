"""Provisioning: its endpoint, its tokens, its log."""

from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web import org_page
from apps.core.errors import MindWeaveError
from apps.core.web.forms import add_problem, new_once, take_once
from apps.identity.web import step_up_required
from apps.sso import selectors, services
from apps.sso.contracts import ScimTokenInfo
from apps.sso.forms import TokenForm
from apps.sso.settings_views.common import CAPABILITY, TITLE, org_of

__all__ = ["provisioning_page", "token_revoke"]

_LOG = 50


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def provisioning_page(request: HttpRequest) -> HttpResponse:
    """``…/settings/sso/provisioning``: the endpoint, its tokens, what was asked of late. A new token is shown once."""
    form = TokenForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        return _make_token(request, form)
    return _provisioning(request, form)


@step_up_required
def _make_token(request: HttpRequest, form: TokenForm) -> HttpResponse:
    org = org_of(request)
    if not take_once(request):
        return redirect("sso_provisioning", org.slug)
    try:
        made = services.create_scim_token(org_id=org.id, name=form.cleaned_data["name"], expires_at=form.expires_at)
    except MindWeaveError as error:
        add_problem(form, error)
        return _provisioning(request, form)
    return _provisioning(request, TokenForm(), made)


def _provisioning(request: HttpRequest, form: TokenForm, made: tuple[ScimTokenInfo, str] | None = None) -> HttpResponse:
    org = org_of(request)
    context = {
        "tab": "sso",
        "part": "provisioning",
        "form": form,
        "made": made,
        "once": new_once(),
        "endpoint": f"{settings.PUBLIC_URL.rstrip('/')}/scim/v2",
        "tokens": [selectors.scim_token_info(row) for row in selectors.scim_tokens(org.id)],
        "counts": selectors.provisioned_counts(org.id),
        "log": list(selectors.request_list(org.id)[:_LOG]),
    }
    return render(request, "sso/provisioning.html", context, status=400 if form.errors else 200)


@org_page(capability=CAPABILITY, title=TITLE, key="settings", personal=True)
@step_up_required
@require_POST
def token_revoke(request: HttpRequest, token_id: UUID) -> HttpResponse:
    """Revoke a token of provisioning."""
    services.revoke_scim_token(org_id=org_of(request).id, token_id=token_id)
    messages.success(request, "The token is revoked. The next request with it is refused.")
    return redirect("sso_provisioning", org_of(request).slug)
