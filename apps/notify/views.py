"""The development mailbox: every mail that went out, or would have. Only where ``MINDWEAVE_DEV_MAILBOX`` is on."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET

from apps.core.errors import NotFound
from apps.core.pagination import paginate
from apps.core.tenancy import system_scope
from apps.notify import selectors

__all__ = ["mail", "mail_html", "mailbox"]

View = Callable[..., HttpResponse]

# What a mail's own HTML may do when it is shown: carry its styles, and nothing else.
_MAIL_CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"


def _only_in_development(view: View) -> View:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.MINDWEAVE_DEV_MAILBOX:
            raise NotFound()
        with system_scope("the development mailbox shows everybody's mail"):
            return view(request, *args, **kwargs)

    return never_cache(require_GET(guarded))


@_only_in_development
def mailbox(request: HttpRequest) -> HttpResponse:
    """All mails, newest first; ``?to=`` narrows to one address."""
    to = request.GET.get("to", "").strip()
    page = paginate(selectors.mail_list(to=to), request.GET)
    return render(request, "notify/mailbox.html", {"mails": page.rows, "next_cursor": page.next_cursor, "to": to})


@_only_in_development
def mail(request: HttpRequest, mail_id: UUID) -> HttpResponse:
    """One mail: its text, and its HTML in a frame."""
    found = selectors.mail_get(mail_id)
    if found is None:
        raise NotFound("There is no such mail")
    return render(request, "notify/mail.html", {"mail": found})


@xframe_options_sameorigin
@_only_in_development
def mail_html(request: HttpRequest, mail_id: UUID) -> HttpResponse:
    """The HTML of a mail as it was sent, kept from doing anything."""
    found = selectors.mail_get(mail_id)
    if found is None:
        raise NotFound("There is no such mail")
    return HttpResponse(found.html, headers={"Content-Security-Policy": _MAIL_CSP})
