"""Showing a credential again, in a sign-in that goes on: what sensitive actions ask for."""

from django.db import transaction
from django.http import HttpRequest

from apps.audit.services import record
from apps.core.authentication import SHOWN, client_ip, user_actor
from apps.core.clock import now
from apps.core.context import set_actor
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
    return "totp"


@transaction.atomic
def confirm_web(*, request: HttpRequest, user: User, method: str) -> None:
    """Note in the cookie session that its person showed ``method`` just now."""
    before = request.session.get(SHOWN) or {"methods": []}
    request.session[SHOWN] = {"at": now().timestamp(), "methods": sorted({*before["methods"], method})}
    request.session.cycle_key()
    set_actor(user_actor(user, request))
    record(
        action="user.confirmed", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"method": method, "ip": client_ip(request)},
    )  # fmt: skip
