"""Where the link of an invitation leads: what it is, then sign up or sign in, then join.

The link's token goes into the session at once and out of the address, so that no history, log or other site gets it
from there.
"""

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from apps.accounts import selectors as accounts
from apps.accounts.contracts import OrgInfo
from apps.core.authentication import client_ip
from apps.core.errors import MindWeaveError
from apps.core.ratelimit import Limit, enforce
from apps.core.web.forms import add_problem, sentence
from apps.identity import selectors as identity
from apps.identity import services as people
from apps.identity.invited import sign_up_invited
from apps.identity.web import user_id_of
from apps.teams import services
from apps.teams.contracts import InvitationInfo
from apps.teams.invitation_forms import AcceptSignupForm
from apps.teams.invitation_selectors import invitation_info, row_of_token

__all__ = ["invite_link", "invite_page"]

_KEY = "teams.invitation"
_LIMIT = Limit("invitation", 60, 60)


@never_cache
@require_safe
def invite_link(request: HttpRequest, token: str) -> HttpResponse:
    """``/invite/<token>``: remembers the token for this browser and goes on to ``/invite``."""
    request.session[_KEY] = token[:100]
    response = redirect("invite")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def invite_page(request: HttpRequest) -> HttpResponse:
    """``/invite``: the invitation whose link was opened in this browser."""
    enforce(_LIMIT, client_ip(request) or "local")
    token = request.session.get(_KEY, "")
    row = row_of_token(token)
    org = accounts.org_find(UUID(str(row.org_id))) if row else None
    if row is None or org is None:
        return render(request, "teams/invite.html", {"state": "unknown"}, status=404)
    info = invitation_info(row)
    if info.state != "open":
        signed_in = request.user.is_authenticated
        return render(
            request, "teams/invite.html", {"state": info.state, "org": org, "signed_in": signed_in}, status=410
        )
    if not request.user.is_authenticated:
        return _signed_out(request, token, org, info)
    if identity.normal_email(request.user.email) != info.email:
        return _somebody_else(request, token, org, info)
    if request.method == "POST":
        return _join(request, token, org, info)
    return _page(request, "join", org, info)


def _page(
    request: HttpRequest, state: str, org: OrgInfo, info: InvitationInfo, *, status: int = 200, **context: object
) -> HttpResponse:
    inviter = identity.user_find(info.invited_by_id) if info.invited_by_id else None
    role = accounts.role_label(org_id=org.id, role=info.role)
    shown = {
        "state": state,
        "org": org,
        "info": info,
        "role": role,
        "inviter": inviter.label if inviter else "",
        **context,
    }
    return render(request, "teams/invite.html", shown, status=status)


def _signed_out(request: HttpRequest, token: str, org: OrgInfo, info: InvitationInfo) -> HttpResponse:
    form = AcceptSignupForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                sign_up_invited(request=request, email=info.email, **form.cleaned_data)
            except MindWeaveError as error:
                add_problem(form, error)
                status = error.status if error.status != 401 else 400
            else:
                return _join(request, token, org, info)
    return _page(request, "signed_out", org, info, status=status, form=form)


def _somebody_else(request: HttpRequest, token: str, org: OrgInfo, info: InvitationInfo) -> HttpResponse:
    if request.method == "POST" and "switch" in request.POST:
        people.logout_web(request=request)
        # Signing out empties the session; the invitation is not the account's.
        request.session[_KEY] = token
        return redirect("invite")
    return _page(request, "other", org, info, status=403 if request.method == "POST" else 200)


def _join(request: HttpRequest, token: str, org: OrgInfo, info: InvitationInfo) -> HttpResponse:
    try:
        services.accept_invitation(token=token, user_id=user_id_of(request))
    except MindWeaveError as error:
        return _page(request, "join", org, info, status=error.status, refusal=sentence(error))
    request.session.pop(_KEY, None)
    messages.success(request, f"You joined {org.name}.")
    return redirect("home", org.slug)
