"""Signing in (with its second step), signing up, signing out."""

import json
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.core.authentication import client_ip
from apps.core.clock import now
from apps.core.errors import MindWeaveError, NotAuthenticated
from apps.core.web.forms import add_problem
from apps.identity import known_devices, proofs, services, webauthn
from apps.identity.first_step import ask_again, first_factor_of
from apps.identity.forms import CodeForm, KeyForm, LoginForm, SignupForm
from apps.identity.models import User
from apps.identity.selectors import factor_list, user_has_second_factor
from apps.identity.web import next_of

__all__ = ["after_first_factor", "login", "login_code", "login_passkey", "logout", "signup"]

_PENDING = "second_factor"
_PENDING_SECONDS = 300


def _form_page(
    request: HttpRequest, template: str, form: object, error: MindWeaveError | None = None, context: Any = None
) -> HttpResponse:
    status = 200
    if error is not None:
        # A browser must not pop up its own dialogue: the page is the challenge.
        status = 400 if error.status == 401 else error.status
    elif getattr(form, "errors", None):
        status = 400
    response = render(request, template, {"form": form, "next": next_of(request), **(context or {})}, status=status)
    if error is not None and "Retry-After" in error.headers:
        response.headers["Retry-After"] = error.headers["Retry-After"]
    return response


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """``/login``: address and password; then the second step where one is enrolled."""
    if request.user.is_authenticated:
        return redirect(next_of(request) or "/")
    form = LoginForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "identity/login.html", form)
    try:
        device = known_devices.device_of(request, form.cleaned_data["email"])
        user = services.check_password(ip=client_ip(request), device=device, **form.cleaned_data)
    except MindWeaveError as error:
        add_problem(form, error)
        return _form_page(request, "identity/login.html", form, error)
    return after_first_factor(request, user, method="password", target=next_of(request))


def after_first_factor(request: HttpRequest, user: User, *, method: str, target: str) -> HttpResponse:
    """On to the second step where one is enrolled, else signed in and on to ``target``."""
    if not user_has_second_factor(user):
        services.login_web(request=request, user=user, method=method)
        return redirect(target or "/")
    request.session.cycle_key()
    request.session[_PENDING] = {
        "user": str(user.pk), "at": now().timestamp(), "method": method, "shown": first_factor_of(user),
    }  # fmt: skip
    return redirect(f"/login/code?{urlencode({'next': target})}" if target else "/login/code")


@never_cache
@require_POST
def login_passkey(request: HttpRequest) -> HttpResponse:
    """``/login/passkey``: signed in by a passkey alone."""
    form = KeyForm(request.POST)
    try:
        if not form.is_valid():
            raise NotAuthenticated("The browser sent no passkey; try again", code="invalid_credential")
        user = proofs.finish_passkey(
            challenge_token=form.cleaned_data["challenge_token"], credential=form.cleaned_data["credential"]
        )
    except MindWeaveError as error:
        return _form_page(request, "identity/login.html", LoginForm(), error, {"passkey_problem": error.detail})
    services.login_web(request=request, user=user, method="passkey")
    return redirect(next_of(request) or "/")


@never_cache
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def login_code(request: HttpRequest) -> HttpResponse:
    """``/login/code``: the second step, within five minutes of the first."""
    user = _pending_user(request)
    if user is None:
        return redirect("login")
    by_key = request.POST.get("by") == "key"
    form: CodeForm | KeyForm = CodeForm(request.POST or None)
    if request.method == "POST":
        form = KeyForm(request.POST) if by_key else form
        try:
            if form.is_valid():
                ask_again(user, request.session[_PENDING].get("method", "password"))
                _check_second_step(user, form)
                method = request.session.pop(_PENDING).get("method", "password")
                services.login_web(request=request, user=user, method=f"{method}+mfa")
                return redirect(next_of(request) or "/")
        except MindWeaveError as error:
            add_problem(form, error)
            return _second_step(request, user, form, error)
    return _second_step(request, user, form)


def _check_second_step(user: User, form: CodeForm | KeyForm) -> None:
    given = form.cleaned_data
    if "credential" in given:
        webauthn.finish_proof(user=user, token=given["challenge_token"], credential=given["credential"])
    elif not services.valid_second_factor(user, given["code"]):
        raise NotAuthenticated("The code is not right", code="invalid_mfa_code")


def _second_step(
    request: HttpRequest, user: User, form: CodeForm | KeyForm, error: MindWeaveError | None = None
) -> HttpResponse:
    """The page of the second step: a key where one is enrolled, and a code of the app or a recovery code."""
    kinds = {factor.kind for factor in factor_list(user.pk)}
    begun = webauthn.begin_proof(user=user) if kinds - {"totp"} else None
    key = {"token": begun["challenge_token"], "options": json.dumps(begun["options"])} if begun else None
    problems = form.non_field_errors() if isinstance(form, KeyForm) else []
    codes = CodeForm() if isinstance(form, KeyForm) else form
    context = {"key": key, "key_problems": problems, "has_app": "totp" in kinds, "form": codes}
    return _form_page(request, "identity/login_code.html", form, error, context)


def _pending_user(request: HttpRequest) -> User | None:
    pending = request.session.get(_PENDING)
    if not pending or now().timestamp() - pending["at"] > _PENDING_SECONDS:
        return None
    user = User.objects.filter(pk=UUID(pending["user"]), is_active=True).first()
    # Another password since the first step: whoever took it need not know the new one.
    return user if user is not None and first_factor_of(user) == pending.get("shown") else None


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def signup(request: HttpRequest) -> HttpResponse:
    """``/signup``: register and go on: to one's mail where addresses must be verified, else to the first organisation.

    Where they must, it goes on alike for an address that is registered already.
    """
    if request.user.is_authenticated:
        return redirect("/")
    form = SignupForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "identity/signup.html", form)
    try:
        person = services.sign_up(ip=client_ip(request), **form.cleaned_data)
    except MindWeaveError as error:
        add_problem(form, error)
        return _form_page(request, "identity/signup.html", form, error)
    user = None if settings.VERIFY_ADDRESSES else User.objects.filter(pk=person.id).first()
    if user is None:
        return render(request, "identity/mailed.html", {"email": person.email, "what": "signup"})
    services.login_web(request=request, user=user, method="registration")
    return redirect(next_of(request) or "/welcome")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    """``/logout``: a click signs out; merely following a link asks first."""
    if request.method != "POST":
        return render(request, "identity/logout.html") if request.user.is_authenticated else redirect("/")
    services.logout_web(request=request)
    return redirect("/")
