"""``/auth/oauth/{provider}`` and ``/auth/oauth/callback``: a browser leaves for a provider and comes back.

What is between is bound to the browser by a cookie of its own: a callback that another browser began is refused, so
nobody can be signed in to an attacker's account, or have an attacker's account linked to theirs.
"""

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.core.authentication import client_ip
from apps.core.context import current
from apps.core.crypto import new_token
from apps.core.errors import BadRequest, MindWeaveError, NotFound
from apps.core.openapi import document, problem_answers
from apps.core.stepup import is_fresh
from apps.core.web.forms import sentence
from apps.identity import oauth, oauth_providers, stepup
from apps.identity.forms import LoginForm
from apps.identity.oauth_providers import NAMES, Profile
from apps.identity.views import after_first_factor
from apps.identity.web import go_on, next_of, step_up_required

__all__ = ["callback", "finish_link", "start", "unlink"]

_COOKIE = "mw_oauth"
_PATH = "/auth/oauth"
_LINKING = "oauth_linking"
_MINUTES = 600
_INTENTS: tuple[oauth.Intent, ...] = ("sign_in", "link", "confirm")


@never_cache
@require_safe
def start(request: HttpRequest, provider: str) -> HttpResponse:
    """Leave for the provider; ``intent`` is ``sign_in``, or for who is signed in ``link`` or ``confirm``."""
    intent = next((each for each in _INTENTS if each == request.GET.get("intent", "sign_in")), None)
    if intent is None:
        raise BadRequest("intent is sign_in, link or confirm")
    if intent != "sign_in":
        # A page elsewhere must not make a browser link or confirm anything.
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
            raise BadRequest("This begins on the Security page")
        if not request.user.is_authenticated:
            return redirect(f"{reverse('login')}?{urlencode({'next': reverse('account_security')})}")
        if intent == "link" and not is_fresh(current().actor):
            return redirect(f"{reverse('account_confirm')}?{urlencode({'next': request.get_full_path()})}")
    binding = request.COOKIES.get(_COOKIE) or new_token()
    away = oauth.leave(
        provider=provider, intent=intent, target=next_of(request), binding=binding, ip=client_ip(request),
        user_id=request.user.pk if intent != "sign_in" else None,
    )  # fmt: skip
    response = redirect(away)
    response.set_cookie(
        _COOKIE, binding, max_age=_MINUTES, path=_PATH, httponly=True, samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
    )  # fmt: skip
    return response


@never_cache
@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """Back from the provider: signed in, linked or confirmed; what went wrong is said on the page it began on."""
    try:
        arrival = oauth.arrive(
            state=request.GET.get("state", ""), code=request.GET.get("code", "")[:2000],
            binding=request.COOKIES.get(_COOKIE, ""),
        )  # fmt: skip
        if arrival.intent == "sign_in":
            return _sign_in(request, arrival)
        return _for_who_left(request, arrival)
    except MindWeaveError as error:
        if request.user.is_authenticated:
            messages.error(request, sentence(error))
            return redirect("account_security")
        return _problem(request, error)


def _problem(request: HttpRequest, error: MindWeaveError) -> HttpResponse:
    status = 400 if error.status == 401 else error.status
    context = {"form": LoginForm(), "provider_problem": error.detail or error.title}
    return render(request, "identity/login.html", context, status=status)


def _sign_in(request: HttpRequest, arrival: oauth.Arrival) -> HttpResponse:
    profile = arrival.profile
    try:
        user = oauth.sign_in(profile=profile, ip=client_ip(request))
    except oauth.LinkFirst as error:
        # Kept in this browser's session: whoever signs in next is asked whether to link it.
        request.session[_LINKING] = {
            "provider": profile.provider, "subject": profile.subject, "email": profile.email,
        }  # fmt: skip
        context = {"form": LoginForm(), "next": reverse("account_provider_link"), "provider_note": error.detail}
        return render(request, "identity/login.html", context, status=error.status)
    return after_first_factor(request, user, method=f"oauth:{profile.provider}", target=arrival.target)


def _for_who_left(request: HttpRequest, arrival: oauth.Arrival) -> HttpResponse:
    """Linking and confirming are for the very person who left, in the session that they left from."""
    user: Any = request.user
    if not user.is_authenticated or user.pk != arrival.user_id:
        raise BadRequest("Somebody else is signed in here by now")
    provider = arrival.profile.provider
    if arrival.intent == "link":
        oauth.link(user=user, profile=arrival.profile)
        messages.success(request, f"{NAMES[provider]} signs you in from now on.")
        return redirect("account_security")
    known = oauth.identities_of(user).get(provider)
    if known is None or known.subject != arrival.profile.subject:
        raise BadRequest(f"This {NAMES[provider]} account is not linked to yours")
    stepup.confirm(request=request, actor=current().actor, user=user, method=f"oauth:{provider}")
    return go_on(request, arrival.target)


# ---------------------------------------------------------------- the account's page
@never_cache
@login_required
def finish_link(request: HttpRequest) -> HttpResponse:
    """After signing in to the account that an address belongs to: whether to link what waited for that."""
    held, user = request.session.get(_LINKING), request.user
    if held is None or held["email"].lower() != user.email:  # type: ignore[union-attr]
        request.session.pop(_LINKING, None)
        return redirect("account_security")
    if request.method != "POST":
        return render(
            request, "identity/provider_link.html", {"provider": NAMES[held["provider"]], "email": held["email"]}
        )
    request.session.pop(_LINKING)
    if request.POST.get("link"):
        try:
            profile = Profile(held["provider"], held["subject"], held["email"], "")
            oauth.link(user=user, profile=profile)  # type: ignore[arg-type]
            messages.success(request, f"{NAMES[profile.provider]} signs you in from now on.")
        except MindWeaveError as error:
            messages.error(request, sentence(error))
    return redirect("account_security")


@login_required
@step_up_required
@require_POST
def unlink(request: HttpRequest, provider: str) -> HttpResponse:
    """Take a provider's account away."""
    user: Any = request.user
    if provider not in oauth_providers.NAMES:
        raise NotFound()
    try:
        oauth.unlink(user=user, provider=provider)
        messages.success(request, f"{NAMES[provider]} no longer signs you in.")
    except MindWeaveError as error:
        messages.error(request, sentence(error))
    return redirect("account_security")


_TEXT: dict[str, Any] = {"type": "string"}


def _query(name: str, what: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": what, "schema": schema or _TEXT}


def _page(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"text/html": {"schema": _TEXT}}}


document(
    "/auth/oauth/{provider}",
    "get",
    {
        "operationId": "oauth_start_get", "tags": ["Auth"], "summary": "Leave for a sign-in provider.",
        "description": "For browsers: answers with the way to the provider (PKCE S256, state, nonce), which leads back "
        "to /auth/oauth/callback and then, with a cookie session, to `next`.",
        "security": [{}],
        "parameters": [
            {"name": "provider", "in": "path", "required": True, "schema": {"type": "string", "enum": list(NAMES)}},
            _query("next", "A path of this site to come back to."),
            _query("intent", "What for.", {"type": "string", "enum": list(_INTENTS), "default": "sign_in"}),
        ],
        "responses": {"302": {"description": "To the provider"}, **problem_answers(400, 404, 405, 429)},
    },
)  # fmt: skip
document(
    "/auth/oauth/callback",
    "get",
    {
        "operationId": "oauth_callback_get", "tags": ["Auth"], "summary": "Come back from a sign-in provider.",
        "description": "For browsers: the one redirect address of every provider. Opens a cookie session.",
        "security": [{}],
        "parameters": [
            _query("state", "As it was sent; works once, in the browser that left."),
            _query("code", "The provider's code."),
            _query("error", "Why there is none."),
        ],
        "responses": {
            "302": {"description": "Signed in, linked or confirmed"},
            "400": _page("The sign-in page with what went wrong"),
            "403": _page("The same: the login policy refused"),
            "409": _page("The same: sign in first, then link"),
            **problem_answers(405),
        },
    },
)  # fmt: skip
