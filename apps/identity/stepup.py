"""Showing a credential again, in a sign-in that goes on: what sensitive actions ask for."""

from django.http import HttpRequest

from apps.core.errors import NotAuthenticated
from apps.identity import services
from apps.identity.models import User

__all__ = ["confirm_web", "show_code", "show_password"]


def show_password(*, user: User, password: str, ip: str | None) -> str:
    """Check the password of somebody who is signed in; limited and refused as at the sign-in. Returns the method."""
    services.check_password(email=user.email, password=password, ip=ip)
    return "password"


def show_code(*, user: User, code: str) -> str:
    """Check a code of their authenticator, or a recovery code; :class:`NotAuthenticated` where it is wrong."""
    if not services.valid_second_factor(user, code):
        raise NotAuthenticated("The code is not right", code="invalid_mfa_code")
    return "mfa"


def confirm_web(*, request: HttpRequest, user: User, method: str) -> None:
    """Note in the cookie session's sign-in that its person showed ``method`` just now."""
    services.note_shown_web(request=request, user=user, method=method)
