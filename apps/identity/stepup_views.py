"""``/account/confirm``: a signed-in person shows a credential again before something sensitive."""

import json
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.core.context import current
from apps.core.errors import MindWeaveError
from apps.core.web.forms import add_problem
from apps.identity import oauth, oauth_providers, stepup, webauthn
from apps.identity.forms import ConfirmCodeForm, ConfirmPasswordForm, KeyForm
from apps.identity.selectors import factor_list
from apps.identity.web import go_on, next_of

__all__ = ["confirm"]

_FORMS: dict[str, type[forms.Form]] = {"password": ConfirmPasswordForm, "code": ConfirmCodeForm, "key": KeyForm}


@never_cache
@sensitive_post_parameters("password", "code")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def confirm(request: HttpRequest) -> HttpResponse:
    """Ask for the password, a code of the authenticator or a key; then back to where the person came from."""
    user: Any = request.user
    by = request.POST.get("by", "password")
    shown: dict[str, forms.Form] = {name: form() for name, form in _FORMS.items()}
    status = 200
    if request.method == "POST" and by in _FORMS:
        shown[by] = form = _FORMS[by](request.POST)
        status = 400
        try:
            if form.is_valid():
                method = _show(request, user, form.cleaned_data)
                stepup.confirm(request=request, actor=current().actor, user=user, method=method)
                return go_on(request, next_of(request))
        except MindWeaveError as error:
            add_problem(form, error)
            status = 400 if error.status == 401 else error.status
    return render(request, "identity/confirm.html", _context(request, user, shown), status=status)


def _show(request: HttpRequest, user: Any, given: dict[str, Any]) -> str:
    if "password" in given:
        return stepup.show_password(user=user, password=given["password"], actor=current().actor)
    if "code" in given:
        return stepup.show_code(user=user, code=given["code"])
    return stepup.show_key(user=user, token=given["challenge_token"], credential=given["credential"])


def _context(request: HttpRequest, user: Any, shown: dict[str, forms.Form]) -> dict[str, Any]:
    kinds = {factor.kind for factor in factor_list(user.pk)}
    begun = webauthn.begin_proof(user=user) if kinds - {"totp"} else None
    offered = dict(oauth_providers.configured())
    return {
        "providers": [(key, offered[key]) for key in oauth.identities_of(user) if key in offered],
        "forms": shown,
        "next": next_of(request),
        "by_sso": any(method.startswith("sso:") for method in current().actor.methods),
        # Where a second factor is what is missing, nothing else helps.
        "has_password": user.has_usable_password() and "factor" not in request.GET,
        "has_factor": bool(kinds),
        "key": {"token": begun["challenge_token"], "options": json.dumps(begun["options"])} if begun else None,
        "key_problems": shown["key"].non_field_errors() if shown["key"].is_bound else [],
    }
