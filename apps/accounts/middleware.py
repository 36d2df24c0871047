"""The entrance of the web UI into an organisation: ``/o/<slug>/…``."""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from apps.accounts import selectors
from apps.core import errors
from apps.core.api.auth import user_actor
from apps.core.context import set_actor
from apps.core.problems import problem_response
from apps.core.tenancy import org_scope

__all__ = ["OrgMiddleware"]

_ORG_PATH = re.compile(r"^/o/([^/]+)(?:/|$)")


class OrgMiddleware:
    """Names the actor of a signed-in request; under ``/o/<slug>/`` resolves the organisation and opens its scope.

    ``request.org`` is the organisation's :class:`~apps.accounts.contracts.OrgInfo` and ``request.membership`` the
    person's membership. An organisation that is not theirs is 404, as is one that does not exist.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        match = _ORG_PATH.match(request.path)
        if match is None:
            return self.get_response(request)
        if not request.user.is_authenticated:
            return redirect(f"/login?next={request.path}")
        set_actor(user_actor(request.user, request))
        found = selectors.org_for_web(slug=match[1], user_id=request.user.pk)
        if found is None:
            return problem_response(errors.NotFound(), request)
        request.org, request.membership = found  # type: ignore[attr-defined]
        with org_scope(found[0].id):
            return self.get_response(request)
