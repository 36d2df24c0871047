"""``/account``: a person's profile, password and sign-ins."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.core.authentication import client_ip
from apps.core.context import current
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem
from apps.identity import selectors, services
from apps.identity.forms import AddressForm, PasswordForm, ProfileForm
from apps.identity.ports import own_organizations
from apps.identity.web import account_context, step_up_required, user_id_of

__all__ = ["address", "address_resend", "end_others", "end_session", "password", "profile", "sessions"]


def _page(request: HttpRequest, template: str, tab: str, *, status: int = 200, **context: Any) -> HttpResponse:
    return render(request, f"identity/{template}.html", {**account_context(tab), **context}, status=status)


def _profile(request: HttpRequest, form: ProfileForm, *, status: int = 200) -> HttpResponse:
    return _page(request, "account_profile", "profile", form=form, status=status)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Name and time zone; the address and whether it is verified."""
    user: Any = request.user
    initial = {"name": user.name, "timezone": user.timezone, "default_org_id": user.default_org_id}
    form = ProfileForm(
        request.POST or None, initial=initial, present=user.timezone,
        organizations=own_organizations.get().names(user_id_of(request)),
    )  # fmt: skip
    if request.method == "POST" and form.is_valid():
        try:
            services.update_profile(user_id=user.pk, changes=form.cleaned_data)
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            messages.success(request, "Saved.")
            return redirect("account")
    return _profile(request, form, status=400 if form.errors else 200)


@never_cache
@login_required
@step_up_required
@require_http_methods(["GET", "HEAD", "POST"])
def address(request: HttpRequest) -> HttpResponse:
    """Another address: it takes effect when the link that is mailed to it is opened."""
    form = AddressForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.ask_new_address(user_id=user_id_of(request), email=form.cleaned_data["email"])
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            messages.success(request, "Open the link in the mail that is on its way to the new address.")
            return redirect("account")
    return _page(request, "account_address", "profile", form=form, status=400 if form.errors else 200)


@login_required
@require_POST
def address_resend(request: HttpRequest) -> HttpResponse:
    """The link that proves the address, mailed again."""
    user: Any = request.user
    services.ask_verification(email=user.email, ip=client_ip(request))
    messages.success(request, "A mail with the link is on its way.")
    return redirect("account")


@never_cache
@sensitive_post_parameters("current_password", "new_password")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """A new password, by the present one."""
    user: Any = request.user
    form = PasswordForm(request.POST or None)
    status = 400 if form.errors else 200
    if request.method == "POST" and form.is_valid():
        try:
            services.change_password(
                user_id=user.pk, current=form.cleaned_data["current_password"], new=form.cleaned_data["new_password"],
                ip=client_ip(request), keep=current().actor.session_id, request=request,
            )  # fmt: skip
        except MindWeaveError as error:
            add_problem(form, error)
            status = error.status
        else:
            messages.success(request, "Your password is changed. You are signed out everywhere else.")
            return redirect("account_password")
    return _page(
        request, "account_password", "password", form=form, has_password=user.has_usable_password(), status=status
    )


@never_cache
@login_required
@require_http_methods(["GET", "HEAD"])
def sessions(request: HttpRequest) -> HttpResponse:
    """Where the person is signed in."""
    rows = selectors.session_list(user_id=user_id_of(request), current=current().actor.session_id)
    return _page(request, "account_sessions", "sessions", sessions=rows)


@login_required
@require_POST
def end_session(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """End one of them."""
    try:
        services.end_session(user_id=user_id_of(request), session_id=session_id)
    except NotFound:
        messages.info(request, "It had ended already.")
    else:
        messages.success(request, "It has ended.")
    return redirect("account_sessions")


@login_required
@require_POST
def end_others(request: HttpRequest) -> HttpResponse:
    """End all of them but this one."""
    services.end_all_sessions(user_id=user_id_of(request), reason="ended_by_person", keep=current().actor.session_id)
    messages.success(request, "You are signed out everywhere else.")
    return redirect("account_sessions")
