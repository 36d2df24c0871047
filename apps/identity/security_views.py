"""``/account/security``: a person's second factors, passkeys and recovery codes."""

import json
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from apps.core.context import current
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem, sentence
from apps.identity import mfa, oauth, oauth_providers, selectors, stepup, webauthn
from apps.identity.forms import FactorNameForm, KeyForm, TotpForm
from apps.identity.selectors import user_has_second_factor
from apps.identity.web import account_context, next_of, step_up_required

__all__ = ["add_app", "add_key", "recovery_codes", "remove", "rename", "security"]

_BACK = "account_security"


def _page(request: HttpRequest, template: str, status: int = 200, **context: Any) -> HttpResponse:
    shared = {**account_context("security"), "next": next_of(request)}
    return render(request, f"identity/{template}.html", {**shared, **context}, status=status)


def _enrolled(request: HttpRequest, user: Any, codes: list[str] | None) -> HttpResponse:
    """The recovery codes where there are new ones, else back; the sign-in now counts as one with a second factor."""
    stepup.note_proof(request=request, actor=current().actor, user=user)
    messages.success(request, "Your second factor is set up.")
    if codes:
        return _page(request, "recovery_codes", codes=codes)
    return redirect(next_of(request) or _BACK)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD"])
def security(request: HttpRequest) -> HttpResponse:
    """What protects the account."""
    user: Any = request.user
    factors = selectors.factor_list(user.pk)
    return _page(
        request,
        "security",
        factors=factors,
        has_app=any(factor.kind == "totp" for factor in factors),
        codes_left=selectors.recovery_codes_left(user.pk),
        has_password=user.has_usable_password(),
        providers=_providers(user),
    )


def _providers(user: Any) -> list[dict[str, Any]]:
    """Those that are offered, and those that were when they were linked."""
    linked, offered = oauth.identities_of(user), dict(oauth_providers.configured())
    return [
        {"key": key, "name": name, "linked": linked.get(key)}
        for key, name in oauth_providers.NAMES.items()
        if key in offered or key in linked
    ]


@never_cache
@sensitive_post_parameters("code", "enrolment_token")
@login_required
@step_up_required
@require_http_methods(["GET", "HEAD", "POST"])
def add_app(request: HttpRequest) -> HttpResponse:
    """Enrol an authenticator app: its secret to scan, then its first code."""
    user: Any = request.user
    token, form = request.POST.get("enrolment_token", ""), TotpForm(request.POST or None)
    enrolment = mfa.begun_totp(user=user, token=token) if token else None
    try:
        if enrolment is not None and form.is_valid():
            codes = mfa.finish_totp(user=user, token=token, code=form.cleaned_data["code"])
            return _enrolled(request, user, codes)
    except MindWeaveError as error:
        add_problem(form, error)
    if enrolment is None:
        late, form = request.method == "POST", TotpForm()
        try:
            token, enrolment = mfa.begin_totp(user=user)
        except MindWeaveError as error:
            messages.error(request, sentence(error))
            return redirect(_BACK)
        if late:
            messages.warning(request, "That took longer than five minutes: here is a new secret, scan it again.")
    status = 400 if request.method == "POST" else 200
    return _page(request, "security_app", status, enrolment=enrolment, token=token, form=form)


@never_cache
@login_required
@step_up_required
@require_http_methods(["GET", "HEAD", "POST"])
def add_key(request: HttpRequest, kind: webauthn.CredentialKind) -> HttpResponse:
    """Enrol a passkey or a security key; needs a script, since only the browser speaks with keys."""
    user: Any = request.user
    if kind not in {"passkey", "security_key"}:
        raise NotFound()
    form, status = KeyForm(request.POST or None), 200
    if request.method == "POST":
        status = 400
        if form.is_valid():
            try:
                codes = webauthn.finish_registration(
                    user=user, token=form.cleaned_data["challenge_token"], name=form.cleaned_data["name"],
                    credential=form.cleaned_data["credential"],
                )  # fmt: skip
                return _enrolled(request, user, codes)
            except MindWeaveError as error:
                add_problem(form, error)
    try:
        begun = webauthn.begin_registration(user=user, kind=kind)
    except MindWeaveError as error:
        messages.error(request, sentence(error))
        return redirect(_BACK)
    shown = KeyForm(initial={"name": request.POST.get("name", "")})
    problems = [problem for found in form.errors.values() for problem in found] if form.is_bound else []
    options = json.dumps(begun["options"])
    return _page(
        request, "security_key", status, kind=kind, form=shown, problems=problems, options=options,
        token=begun["challenge_token"],
    )  # fmt: skip


@login_required
@require_POST
def rename(request: HttpRequest, factor_id: UUID) -> HttpResponse:
    """Call a factor something else."""
    user: Any = request.user
    form = FactorNameForm(request.POST)
    if form.is_valid():
        mfa.rename_factor(user=user, factor_id=factor_id, name=form.cleaned_data["name"])
        messages.success(request, "Renamed.")
    else:
        messages.error(request, f"A name has between 1 and {mfa.NAME_LENGTH} characters.")
    return redirect(_BACK)


@never_cache
@login_required
@step_up_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, factor_id: UUID) -> HttpResponse:
    """Remove a factor, after saying what that means."""
    user: Any = request.user
    factors = selectors.factor_list(user.pk)
    factor = next((each for each in factors if each.id == factor_id), None)
    if factor is None:
        raise NotFound()
    if request.method != "POST":
        return _page(request, "security_remove", factor=factor, is_last=len(factors) == 1)
    try:
        mfa.remove_factor(user=user, factor_id=factor_id)
        messages.success(request, f"“{factor.name}” is removed.")
    except MindWeaveError as error:
        messages.error(request, sentence(error))
    return redirect(_BACK)


@never_cache
@login_required
@step_up_required
@require_http_methods(["GET", "HEAD", "POST"])
def recovery_codes(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes and show them this once."""
    user: Any = request.user
    if not user_has_second_factor(user):
        return redirect(_BACK)
    if request.method != "POST":
        return _page(request, "security_codes", codes_left=selectors.recovery_codes_left(user.pk))
    return _page(request, "recovery_codes", codes=mfa.new_recovery_codes(user=user))
