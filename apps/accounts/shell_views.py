"""What belongs to the frame of every page: notifications, and the map of the keyboard."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.web import capabilities, org_page, unread_text
from apps.core.errors import ValidationFailed
from apps.identity.web import user_id_of
from apps.notify import services
from apps.notify.selectors import latest_notes, note_page, unread_count

__all__ = [
    "keyboard_page",
    "notification_read",
    "notifications_drawer",
    "notifications_page",
    "notifications_read",
    "notifications_unread",
]


def _reader(request: HttpRequest) -> dict[str, Any]:
    """Whose notifications these are, for selectors and services."""
    return {
        "org_id": request.org.id,  # type: ignore[attr-defined]
        "user_id": user_id_of(request),
        "capabilities": capabilities(request),
    }


# ---------------------------------------------------------------- notifications
@org_page(capability="org.read", title="Notifications")
@never_cache
@require_safe
def notifications_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/notifications``: all that is kept, newest first, or with ``unread`` what was not read."""
    only_unread = request.GET.get("unread") == "1"
    notes, next_cursor = note_page(**_reader(request), query=request.GET, only_unread=only_unread)
    context = {
        "notes": notes, "next_cursor": next_cursor, "only_unread": only_unread, "later": "cursor" in request.GET,
        "newest": notes[0].id if notes and "cursor" not in request.GET else None,
    }  # fmt: skip
    return render(request, "accounts/notifications.html", context)


@org_page(capability="org.read", title="Notifications")
@never_cache
@require_safe
def notifications_drawer(request: HttpRequest) -> HttpResponse:
    """The newest ones as the drawer holds them."""
    only_unread = request.GET.get("unread") == "1"
    notes = latest_notes(**_reader(request), only_unread=only_unread)
    unread = unread_count(**_reader(request))
    context = {"notes": notes, "only_unread": only_unread, "unread": unread, "unread_text": unread_text(unread)}
    return render(request, "accounts/notifications_drawer.html", context)


@org_page(capability="org.read", title="Notifications")
@never_cache
@require_safe
def notifications_unread(request: HttpRequest) -> HttpResponse:
    """How many are unread and the newest of them, as JSON: what the bell shows and says."""
    count = unread_count(**_reader(request))
    newest = latest_notes(**_reader(request), only_unread=True, limit=1) if count else []
    return JsonResponse(
        {"count": count, "text": unread_text(count), "newest": {"id": newest[0].id, "title": newest[0].title}}
        if newest
        else {"count": 0, "text": "0", "newest": None}
    )


@org_page(capability="org.read", title="Notifications")
@require_POST
def notification_read(request: HttpRequest, notification_id: UUID) -> HttpResponse:
    """One is read."""
    services.mark_read(**_reader(request), notification_id=notification_id)
    return _back(request)


@org_page(capability="org.read", title="Notifications")
@require_POST
def notifications_read(request: HttpRequest) -> HttpResponse:
    """All are read, up to the newest that was shown (``newest``)."""
    try:
        newest = UUID(request.POST["newest"]) if request.POST.get("newest") else None
    except ValueError as error:
        raise ValidationFailed("newest is not an id", errors=[{"pointer": "newest", "detail": "a UUID"}]) from error
    services.mark_all_read(**_reader(request), newest_id=newest)
    return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    """Scripts need no answer; without them the page is shown again, or what the notification leads to."""
    if request.headers.get("X-Requested-With") == "fetch":
        return HttpResponse(status=204)
    here = reverse("notifications", args=[request.org.slug])  # type: ignore[attr-defined]
    to = request.POST.get("to", "")
    return redirect(to if to.startswith("/o/") and url_has_allowed_host_and_scheme(to, None) else here)


# ---------------------------------------------------------------- keyboard
@org_page(capability="org.read", title="Keyboard")
@require_safe
def keyboard_page(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/keyboard``: what the keys do; scripts show the same in a dialog."""
    return render(request, "accounts/keyboard.html")
