"""``/account/confirm``: a signed-in person shows a credential again before something sensitive."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.core.authentication import client_ip
from apps.core.errors import MindWeaveError
from apps.core.web.forms import add_problem
from apps.identity import stepup
from apps.identity.forms import ConfirmCodeForm, ConfirmPasswordForm
from apps.identity.selectors import user_has_second_factor
from apps.identity.web import kept_form, next_of

__all__ = ["confirm"]


@never_cache
@sensitive_post_parameters("password", "code")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for the password, or for a code of the authenticator; then back to where the person came from."""
    user: Any = request.user
    by_code = request.POST.get("by") == "code"
    forms: dict[str, Any] = {"password": ConfirmPasswordForm(), "code": ConfirmCodeForm()}
    status = 200
    if request.method == "POST":
        name = "code" if by_code else "password"
        form = forms[name] = (ConfirmCodeForm if by_code else ConfirmPasswordForm)(request.POST)
        status = 400
        if form.is_valid():
            try:
                if by_code:
                    method = stepup.show_code(user=user, code=form.cleaned_data["code"])
                else:
                    method = stepup.show_password(
                        user=user, password=form.cleaned_data["password"], ip=client_ip(request)
                    )
            except MindWeaveError as error:
                add_problem(form, error)
                status = 400 if error.status == 401 else error.status
            else:
                stepup.confirm_web(request=request, user=user, method=method)
                return _go_on(request)
    context = {
        "forms": forms,
        "next": next_of(request),
        "has_password": user.has_usable_password(),
        "has_factor": user_has_second_factor(user),
    }
    return render(request, "identity/confirm.html", context, status=status)


def _go_on(request: HttpRequest) -> HttpResponse:
    """Back to the page; where a form waited for this, a page that sends it at a click."""
    kept = kept_form(request)
    if kept is None:
        return redirect(next_of(request) or "/")
    return render(request, "identity/confirmed.html", {"kept": kept, "next": next_of(request)})
