"""Cookie sessions are asked for in the book of sign-ins."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse

from apps.identity import known_devices
from apps.identity.book import facts_of, sign_in_of_session

__all__ = ["SignInMiddleware"]


class SignInMiddleware:
    """``request.sign_in`` says by which sign-in a person came; a session whose sign-in has ended is nobody's.

    The answer to a sign-in carries the cookie by which the browser is known again.

    Stands behind Django's ``AuthenticationMiddleware``. The session of an ended sign-in is deleted by the first request
    that brings it.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and SESSION_KEY in request.session:
            row = sign_in_of_session(request.session)
            if row is None:
                request.session.flush()
                nobody: Any = AnonymousUser()
                request.user = nobody
            else:
                request.sign_in = facts_of(row)  # type: ignore[attr-defined]
        response = self.get_response(request)
        known_devices.keep(request, response)
        return response
