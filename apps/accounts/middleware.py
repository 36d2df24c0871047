"""The entrance of the web UI into an organisation: ``/o/<slug>/…``."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.shortcuts import redirect

from apps.accounts import selectors
from apps.accounts.factors import factor_refusal
from apps.accounts.impersonation import current_stay
from apps.accounts.models import Impersonation
from apps.accounts.security_views import factor_missing
from apps.accounts.slugs import present_slug
from apps.core import errors
from apps.core.authentication import user_actor
from apps.core.context import current, set_actor
from apps.core.problems import problem_response
from apps.core.tenancy import org_scope
from apps.identity.web import user_id_of

__all__ = ["OrgMiddleware"]

_SAFE = {"GET", "HEAD", "OPTIONS"}
_ORG_PATH = re.compile(r"^/o/([^/]+)(?:/|$)")


def _take_the_place(request: HttpRequest, stay: Impersonation) -> None:
    """From here on the request is the member's, with the staff member behind it in every entry of the trail."""
    staff: Any = request.user
    member: Any = stay.user
    member.is_verified = lambda: False
    request.user = member
    request.impersonation = stay  # type: ignore[attr-defined]
    set_actor(replace(user_actor(member, request), impersonator_id=staff.pk))


class OrgMiddleware:
    """Names the actor of a signed-in request; under ``/o/<slug>/`` resolves the organisation and opens its scope.

    ``request.org`` is the organisation's :class:`~apps.accounts.contracts.OrgInfo` and ``request.membership`` the
    person's membership. Staff in a member's place (:mod:`apps.accounts.impersonation`) is that member there, and
    ``request.impersonation`` says so. An organisation that is not theirs is 404, as is one that does not exist; an
    address with a short name that theirs had before leads on to the present one; a suspended one can be read; whatever
    would write is refused (403, ``org_suspended``).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    @staticmethod
    def _moved(request: HttpRequest, slug: str) -> HttpResponse | None:
        """The way on from an address with an earlier short name, for members; the method and the form go along.

        Browsers are told not to keep it: the organisation may take its earlier name back.
        """
        present = present_slug(slug=slug, user_id=user_id_of(request))
        if present is None:
            return None
        target = f"/o/{present}{request.get_full_path().removeprefix(f'/o/{slug}')}"
        moved = HttpResponsePermanentRedirect(target, preserve_request=request.method not in _SAFE)
        moved.headers["Cache-Control"] = "no-store"
        return moved

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Without the cookie nobody is signed in, and asking would cost a query.
        signed_in = settings.SESSION_COOKIE_NAME in request.COOKIES and request.user.is_authenticated
        if signed_in:
            actor = user_actor(request.user, request)
            set_actor(replace(actor, kind="staff") if request.path.startswith("/admin/") else actor)
        match = _ORG_PATH.match(request.path)
        if match is None:
            return self.get_response(request)
        if not signed_in:
            return redirect(f"/login?{urlencode({'next': request.get_full_path()})}")
        stay = current_stay(request, match[1])
        if stay is not None:
            _take_the_place(request, stay)
            if request.method not in _SAFE and not stay.may_write:
                return problem_response(
                    errors.PermissionDenied("This stay reads only", code="impersonation_read_only"), request
                )
        found = selectors.org_for_web(slug=match[1], user_id=user_id_of(request))
        if found is None:
            if moved := self._moved(request, match[1]):
                return moved
            return problem_response(errors.NotFound(foreign_org=selectors.org_by_name(match[1])), request)
        if found[0].status != "active" and request.method not in _SAFE:
            return problem_response(
                errors.PermissionDenied("This organisation is suspended", code="org_suspended"), request
            )
        refusal = factor_refusal(current().actor, org_id=found[0].id, requires_mfa=found[0].requires_mfa)
        if refusal is not None:
            return factor_missing(request, found[0], refusal)
        request.org, request.membership = found  # type: ignore[attr-defined]
        with org_scope(found[0].id):
            return self.get_response(request)
