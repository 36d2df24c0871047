"""Signing in (with its second step), signing up, signing out."""

from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.core.authentication import client_ip
from apps.core.clock import now
from apps.core.errors import MindWeaveError, NotAuthenticated
from apps.core.web.forms import add_problem
from apps.identity import services
from apps.identity.forms import CodeForm, LoginForm, SignupForm
from apps.identity.models import User
from apps.identity.selectors import user_has_second_factor

__all__ = ["login", "login_code", "logout", "signup"]

_PENDING = "second_factor"
_PENDING_SECONDS = 300


def _next(request: HttpRequest) -> str:
    """Where to go afterwards: a path of this site, or nothing. Never another host."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return ""


def _form_page(request: HttpRequest, template: str, form: object, error: MindWeaveError | None = None) -> HttpResponse:
    status = 200
    if error is not None:
        # A browser must not pop up its own dialogue: the page is the challenge.
        status = 400 if error.status == 401 else error.status
    elif getattr(form, "errors", None):
        status = 400
    response = render(request, template, {"form": form, "next": _next(request)}, status=status)
    if error is not None and "Retry-After" in error.headers:
        response.headers["Retry-After"] = error.headers["Retry-After"]
    return response


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """``/login``: address and password; then the second step where one is enrolled."""
    if request.user.is_authenticated:
        return redirect(_next(request) or "/")
    form = LoginForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "identity/login.html", form)
    try:
        user = services.check_password(ip=client_ip(request), **form.cleaned_data)
    except MindWeaveError as error:
        add_problem(form, error)
        return _form_page(request, "identity/login.html", form, error)
    if user_has_second_factor(user):
        request.session.cycle_key()
        request.session[_PENDING] = {"user": str(user.pk), "at": now().timestamp()}
        query = urlencode({"next": _next(request)}) if _next(request) else ""
        return redirect(f"/login/code?{query}" if query else "/login/code")
    services.login_web(request=request, user=user)
    return redirect(_next(request) or "/")


@never_cache
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def login_code(request: HttpRequest) -> HttpResponse:
    """``/login/code``: the second step, within five minutes of the first."""
    user = _pending_user(request)
    if user is None:
        return redirect("login")
    form = CodeForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "identity/login_code.html", form)
    try:
        if not services.valid_second_factor(user, form.cleaned_data["code"]):
            raise NotAuthenticated("The code is not right", code="invalid_mfa_code")
    except MindWeaveError as error:
        add_problem(form, error)
        return _form_page(request, "identity/login_code.html", form, error)
    request.session.pop(_PENDING, None)
    services.login_web(request=request, user=user, method="password+mfa")
    return redirect(_next(request) or "/")


def _pending_user(request: HttpRequest) -> User | None:
    pending = request.session.get(_PENDING)
    if not pending or now().timestamp() - pending["at"] > _PENDING_SECONDS:
        return None
    return User.objects.filter(pk=UUID(pending["user"]), is_active=True).first()


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def signup(request: HttpRequest) -> HttpResponse:
    """``/signup``: register and go on, signed in, to the first organisation."""
    if request.user.is_authenticated:
        return redirect("/")
    form = SignupForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return _form_page(request, "identity/signup.html", form)
    try:
        person = services.register(ip=client_ip(request), **form.cleaned_data)
    except MindWeaveError as error:
        add_problem(form, error)
        return _form_page(request, "identity/signup.html", form, error)
    services.login_web(request=request, user=User.objects.get(pk=person.id), method="registration")
    return redirect(_next(request) or "/welcome")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def logout(request: HttpRequest) -> HttpResponse:
    """``/logout``: a click signs out; merely following a link asks first."""
    if request.method != "POST":
        return render(request, "identity/logout.html") if request.user.is_authenticated else redirect("/")
    services.logout_web(request=request)
    return redirect("/")
