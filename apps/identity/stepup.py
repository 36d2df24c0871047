"""Showing a credential again, in a sign-in that goes on: what sensitive actions ask for."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django_otp import login as otp_login

from apps.audit.services import record
from apps.core.clock import now
from apps.core.context import current
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated
from apps.identity import known_devices, services, webauthn
from apps.identity.mfa import device_of
from apps.identity.models import User
from apps.identity.services.signing_in import mark_shown, mark_shown_at

__all__ = ["confirm", "max_age", "note_proof", "note_single_sign_on", "show_code", "show_key", "show_password"]


def max_age() -> int:
    """For how many seconds a credential that was shown counts."""
    minutes: int = settings.STEP_UP_MINUTES
    return minutes * 60


def show_password(*, user: User, password: str, actor: Actor) -> str:
    """Check the password of somebody who is signed in; refused as at the sign-in. Returns the method.

    What is wrong is counted for their sign-in alone: what strangers guess elsewhere keeps nobody from confirming.
    """
    device = known_devices.of_sign_in(actor.session_id)
    services.check_password(email=user.email, password=password, ip=actor.ip, device=device)
    return "password"


def show_code(*, user: User, code: str) -> str:
    """Check a code of their authenticator, or a recovery code; :class:`NotAuthenticated` where it is wrong."""
    if not services.valid_second_factor(user, code):
        raise NotAuthenticated("The code is not right", code="invalid_mfa_code")
    return "mfa"


def show_key(*, user: User, token: str, credential: dict[str, Any]) -> str:
    """Check a security key or passkey of theirs; :class:`NotAuthenticated` where it does not answer as it must."""
    webauthn.finish_proof(user=user, token=token, credential=credential)
    return "mfa"


@transaction.atomic
def confirm(*, request: HttpRequest, actor: Actor, user: User, method: str) -> datetime:
    """Note in the caller's sign-in that they showed ``method`` just now; returns when that was."""
    moment = _note(request, actor, user, method)
    record(
        action="user.confirmed", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"method": method},
    )  # fmt: skip
    return moment


@transaction.atomic
def note_proof(*, request: HttpRequest, actor: Actor, user: User) -> None:
    """Enrolling a factor proves it: the sign-in it was enrolled in counts as one with a second factor."""
    _note(request, actor, user, "mfa")


def _note(request: HttpRequest, actor: Actor, user: User, method: str) -> datetime:
    if actor.session_id is None:
        raise NotAuthenticated()
    moment = mark_shown(request=request, session_id=actor.session_id, user=user, method=method)
    if method == "mfa" and hasattr(request, "sign_in") and (device := device_of(user)):
        # The staff admin asks django-otp, and has nothing left to ask for.
        otp_login(request, device)
    return moment


def note_single_sign_on(*, request: HttpRequest, user: User, org_id: UUID, shown_at: datetime | None) -> None:
    """Note in a sign-in just opened whose single sign-on it came by: that organisation asks no second factor.

    ``shown_at`` is when the provider says that the person last showed it a credential: whom it knew already, or of whom
    it does not say it, showed none for this sign-in, and is asked for one before something sensitive.
    """
    actor = current().actor
    if actor.session_id is None:
        raise NotAuthenticated()
    moment = None if shown_at is None else min(shown_at, now())
    mark_shown_at(request=request, session_id=actor.session_id, user=user, method=f"sso:{org_id}", moment=moment)
