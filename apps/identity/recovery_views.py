"""Pages that a mail leads to: a new password, a proved address; and the pages that ask for the mail.

A link's token goes into the session at once and out of the address, so that no history, log or other site gets it from
there.
"""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from apps.core.authentication import client_ip
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem
from apps.identity import known_devices, services
from apps.identity.forms import ForgotForm, ResetForm

__all__ = ["forgot", "reset", "reset_link", "verify", "verify_link"]

_RESET, _VERIFY = "identity.reset", "identity.verify"


def _keep(request: HttpRequest, key: str, token: str, page: str) -> HttpResponse:
    """On to the page, whose address no longer holds the token.

    Only this answer refuses to be named to others: from a page that does, browsers send forms with ``Origin: null``,
    which the check against forgery takes for somebody else's.
    """
    request.session[key] = token[:200]
    response = redirect(page)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgot(request: HttpRequest) -> HttpResponse:
    """``/forgot``: asks for the address, and says the same whoever it is of."""
    form = ForgotForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            services.ask_reset(email=form.cleaned_data["email"], ip=client_ip(request))
        except MindWeaveError as error:
            add_problem(form, error)
            return render(request, "identity/forgot.html", {"form": form}, status=error.status)
        return render(request, "identity/mailed.html", {"email": form.cleaned_data["email"], "what": "reset"})
    return render(request, "identity/forgot.html", {"form": form}, status=400 if form.errors else 200)


@never_cache
@require_safe
def reset_link(request: HttpRequest, token: str) -> HttpResponse:
    """``/reset/<token>``: remembers the token for this browser and goes on to ``/reset``."""
    return _keep(request, _RESET, token, "reset")


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def reset(request: HttpRequest) -> HttpResponse:
    """``/reset``: a new password, by the link that was opened in this browser."""
    token = request.session.get(_RESET, "")
    if not token or not services.reset_token_is_live(token):
        return render(request, "identity/link_gone.html", {"what": "reset"}, status=404)
    form = ResetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            email = services.reset_password(token=token, password=form.cleaned_data["password"])
        except NotFound:
            return render(request, "identity/link_gone.html", {"what": "reset"}, status=404)
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            del request.session[_RESET]
            known_devices.know(request, email)
            messages.success(request, "Your password is set. Sign in with it.")
            return redirect("login")
    return render(request, "identity/reset.html", {"form": form}, status=400 if form.errors else 200)


@never_cache
@require_safe
def verify_link(request: HttpRequest, token: str) -> HttpResponse:
    """``/verify/<token>``: remembers the token for this browser and goes on to ``/verify``."""
    return _keep(request, _VERIFY, token, "verify")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: HttpRequest) -> HttpResponse:
    """``/verify``: a click proves the address; a mail scanner that follows the link proves nothing."""
    token = request.session.get(_VERIFY, "")
    if request.method != "POST":
        return render(request, "identity/verify.html", {"has_link": bool(token)})
    try:
        person = services.verify_address(token=token)
    except NotFound:
        return render(request, "identity/link_gone.html", {"what": "verify"}, status=404)
    request.session.pop(_VERIFY, None)
    known_devices.know(request, person.email)
    messages.success(request, "Your address is confirmed.")
    return redirect("account" if request.user.is_authenticated else "login")
