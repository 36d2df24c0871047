"""What views ask of the person behind a request, and what the pages of their account have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from apps.core.clock import now
from apps.core.context import current
from apps.core.errors import NotAuthenticated, PermissionDenied
from apps.core.registry import account_tabs
from apps.core.stepup import is_fresh

__all__ = ["account_context", "go_on", "kept_form", "next_of", "step_up_required", "user_id_of"]

_KEPT = "kept_form"
_KEPT_SECONDS = 600
_KEPT_CHARACTERS = 20_000
# What is typed into these is a secret: it is asked for again rather than kept.
_SECRET_WORDS = ("password", "secret", "token", "code", "csrf")


def user_id_of(request: HttpRequest) -> UUID:
    """The id of the signed-in person; :class:`NotAuthenticated` where nobody is."""
    user_id = request.user.pk
    if user_id is None:
        raise NotAuthenticated()
    return user_id


def next_of(request: HttpRequest) -> str:
    """Where to go afterwards: a path of this site, or nothing. Never another host."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return ""


# ---------------------------------------------------------------- pages of the account
@dataclass(frozen=True, slots=True)
class _Tab:
    key: str
    label: str
    url: str


def account_context(tab: str) -> dict[str, Any]:
    """What ``account.html`` needs: all pages of a person's account, and which of them this is."""
    return {"tab": tab, "tabs": [_Tab(item.key, item.label, reverse(item.url_name)) for item in account_tabs.all()]}


# ---------------------------------------------------------------- step-up
def step_up_required(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A view for who showed a credential a short while ago; others confirm at ``/account/confirm`` and come back.

    It stands inside ``@org_page``, so that only who may do the thing is asked. A form that was sent is kept for ten
    minutes, without what is secret in it, and offered to be sent again after the confirmation.
    """

    @wraps(view)
    def inner(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if is_fresh(current().actor):
            return view(request, *args, **kwargs)
        if hasattr(request, "impersonation"):
            raise PermissionDenied("Nobody may do this in another's name", code="impersonation_personal")
        if not request.user.is_authenticated:
            return redirect(f"{reverse('login')}?{urlencode({'next': request.get_full_path()})}")
        back = request.get_full_path()
        if request.method == "POST":
            _keep_form(request)
            back = _page_before(request)
        target = f"{reverse('account_confirm')}?{urlencode({'next': back})}"
        if request.headers.get("HX-Request"):
            return HttpResponse(headers={"HX-Redirect": target})
        return redirect(target)

    return inner


def _page_before(request: HttpRequest) -> str:
    """The page of ours that a form was sent from; the front page where that is not told."""
    before = urlsplit(request.headers.get("Referer", ""))
    own = before.netloc == request.get_host()
    return f"{before.path}?{before.query}" if own and before.query else before.path if own else "/"


def _keep_form(request: HttpRequest) -> None:
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        for value in values
        if isinstance(value, str) and not any(word in name.lower() for word in _SECRET_WORDS)
    ]
    request.session.pop(_KEPT, None)
    if not request.FILES and sum(len(name) + len(value) for name, value in fields) <= _KEPT_CHARACTERS:
        request.session[_KEPT] = {"path": request.get_full_path(), "fields": fields, "at": now().timestamp()}


def kept_form(request: HttpRequest) -> dict[str, Any] | None:
    """The form that waited for a confirmation, given out once: its ``path`` and ``fields`` (names and values)."""
    kept: dict[str, Any] | None = request.session.pop(_KEPT, None)
    return kept if kept is not None and now().timestamp() - kept["at"] <= _KEPT_SECONDS else None


def go_on(request: HttpRequest, target: str) -> HttpResponse:
    """After a confirmation, back to the page; where a form waited for it, a page that sends the form at a click."""
    kept = kept_form(request)
    if kept is None:
        return redirect(target or "/")
    return render(request, "identity/confirmed.html", {"kept": kept, "next": target})
