"""What every page inside an organisation needs: the right to see it, and the shell around it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.gzip import gzip_page

from apps.accounts import selectors
from apps.accounts.permissions import ROLE_CAPABILITIES
from apps.audit.services import record_read
from apps.core.context import current
from apps.core.errors import PermissionDenied
from apps.core.problems import tell_refusal
from apps.core.registry import NavItem, nav, nav_grants, nav_queries, settings_tabs
from apps.identity.web import user_id_of
from apps.notify.selectors import COUNTED_TO, unread_count

__all__ = ["can", "capabilities", "org_page", "shell", "unread_text"]

_SAFE = {"GET", "HEAD", "OPTIONS"}
_ADMIN = ROLE_CAPABILITIES["admin"]
View = Callable[..., HttpResponse]


def can(request: HttpRequest, capability: str) -> bool:
    """Whether the reader of this page holds a capability in its organisation, or for what the page is about."""
    return capability in capabilities(request)


def capabilities(request: HttpRequest) -> frozenset[str]:
    """All that the reader of this page may do in its organisation, or with what the page is about; costs no query."""
    held: frozenset[str] = request.membership.capabilities  # type: ignore[attr-defined]
    granted: frozenset[str] = getattr(request, "granted", frozenset())
    return held | granted


def org_page(
    *,
    capability: str,
    title: str,
    key: str = "",
    personal: bool = False,
    granted: Callable[..., frozenset[str]] | None = None,
) -> Callable[[View], View]:
    """A page under ``/o/<slug>/`` for those who hold ``capability``; others get 403 inside the shell.

    Of a suspended organisation only reads come here: the middleware refuses the others.

    What is sent to a ``personal`` page nobody may send in another's name: it makes a key, gives rights, or deletes.
    ``granted`` says what a reader was given for what the address names (request and its parts → capabilities); it is
    asked of those whose role holds less than an admin's. ``title`` names the page where it is refused, ``key`` its
    place in the navigation. The templates find ``tz``, the reader's time zone: their own, else the organisation's.
    """

    def wrap(view: View) -> View:
        @wraps(view)
        def inner(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponse:
            request.nav_key = key  # type: ignore[attr-defined]
            if granted is not None and not request.membership.capabilities >= _ADMIN:  # type: ignore[attr-defined]
                request.granted = granted(request, **kwargs)  # type: ignore[attr-defined]
            if not can(request, capability):
                return _refused(request, capability, title)
            if personal and request.method not in _SAFE and hasattr(request, "impersonation"):
                raise PermissionDenied("Nobody may do this in another's name", code="impersonation_personal")
            response = view(request, *args, **kwargs)
            if hasattr(request, "impersonation"):
                _tell_staff_looked(request, title)
            return response

        inner.capability = capability  # type: ignore[attr-defined]
        # Django pads compressed answers at random, so that their length tells nothing of the tokens in them.
        return gzip_page(inner)

    return wrap


def _tell_staff_looked(request: HttpRequest, title: str) -> None:
    """What staff sees in a member's place is on record: each page once an hour and stay, and how often it was seen.

    What they send there is recorded by what it does.
    """
    if request.method in _SAFE:
        stay, match = request.impersonation, request.resolver_match  # type: ignore[attr-defined]
        route = f"/{match.route}" if match else ""
        record_read(what=f"{title} (page)", org_id=request.org.id, target_id=route, key=str(stay.pk))  # type: ignore[attr-defined]


def _refused(request: HttpRequest, capability: str, title: str) -> HttpResponse:
    org, membership = request.org, request.membership  # type: ignore[attr-defined]
    context = {
        "page_title": title,
        "holders": [role.label for role in selectors.roles_of_org(org.id) if capability in role.capabilities],
        "role": membership.role_name,
        "may_see_members": can(request, "member.read"),
        "correlation_id": current().correlation_id,
    }
    tell_refusal(PermissionDenied(f"Their role lacks {capability!r}", extra={"capability": capability}), request)
    return render(request, "accounts/forbidden.html", context, status=403)


# ---------------------------------------------------------------- the shell
@dataclass(frozen=True, slots=True)
class _Link:
    key: str
    label: str
    url: str
    icon: str
    shortcut: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    items: list[_Link]


@dataclass(frozen=True, slots=True)
class _OrgLink:
    id: Any
    name: str
    url: str


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: navigation, organisations and person of a page inside an organisation, when asked for."""
    org = getattr(request, "org", None)
    if org is None:
        return {"tz": "UTC"}
    return {
        "shell": SimpleLazyObject(lambda: _shell(request)),
        "tz": request.user.timezone or org.timezone,  # type: ignore[union-attr]
        "nav_key": getattr(request, "nav_key", ""),
        "role": request.membership.role_name,  # type: ignore[attr-defined]
    }


def _shell(request: HttpRequest) -> dict[str, Any]:
    org, role = request.org, request.membership.role_name  # type: ignore[attr-defined]
    # The places to go to are the same on every page, whatever the reader was given for what this one is about.
    held: frozenset[str] = request.membership.capabilities  # type: ignore[attr-defined]
    given = _given(org, user_id_of(request), held)
    user = request.user
    # Nothing new is counted of a suspended organisation, and its socket is refused.
    live = "usage.read" in held and org.status == "active"
    unread = unread_count(org_id=org.id, user_id=user_id_of(request), capabilities=held)
    return {
        "nav": _sections(org, user_id_of(request), held, given),
        "unread": unread,
        "unread_text": unread_text(unread),
        "settings": [link for _, link in _links(settings_tabs.all(), org.slug, held, given)],
        "orgs": [
            _OrgLink(each.id, each.name, reverse("home", args=[each.slug]))
            for each in ([org] if hasattr(request, "impersonation") else selectors.orgs_for_user(user_id_of(request)))
        ],
        "org_note": org.timezone.replace("_", " "),
        "person": user.name or user.email,  # type: ignore[union-attr]
        "role": role[:1].upper() + role[1:],
        # A socket is the staff member's own, whatever place they are in: then pages stand still.
        "live_url": f"/ws/live?org={org.slug}" if live and not hasattr(request, "impersonation") else "",
        "live_poll_url": reverse("live", args=[org.slug]) if live else "",
    }


def unread_text(count: int) -> str:
    """The number in the bell."""
    return "99+" if count >= COUNTED_TO else str(count)


def _given(org: Any, user_id: UUID, held: frozenset[str]) -> frozenset[str]:
    """What the reader was given for single things; asked only where it could open a place that their role does not."""
    wanted = {item.capability for item in (*nav.all(), *settings_tabs.all()) if item.granted and item.capability}
    if wanted <= held:
        return frozenset()
    return frozenset().union(*(found(org.id, user_id) for found in nav_grants))


def _sections(org: Any, user_id: UUID, capabilities: frozenset[str], given: frozenset[str]) -> list[_Section]:
    """The places this role may go, grouped in the order of their first item; a place without a page is left out.

    A place opens with what the person has chosen for it.
    """
    queries: dict[str, str] = {}
    for chosen in nav_queries:
        queries |= chosen(org.id, user_id)
    sections: dict[str, list[_Link]] = {}
    for section, link in _links(nav.all(), org.slug, capabilities, given):
        if queries.get(link.key):
            link = replace(link, url=f"{link.url}?{queries[link.key]}")
        sections.setdefault(section, []).append(link)
    return [_Section(title, items) for title, items in sections.items()]


def _links(
    items: Iterable[NavItem], slug: str, capabilities: frozenset[str], given: frozenset[str]
) -> list[tuple[str, _Link]]:
    """Those of the items that the reader may open, by their role or by what they were given, each with its section."""
    links = []
    for item in items:
        if item.capability and item.capability not in (capabilities | given if item.granted else capabilities):
            continue
        try:
            url = reverse(item.url_name, args=[slug])
        except NoReverseMatch:
            continue
        links.append((item.section, _Link(item.key, item.label, url, item.icon, item.shortcut)))
    return links
