"""Signing in, over the API and in a browser, and showing a credential again."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from django.contrib.auth import login as django_login
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django_otp import login as otp_login
from psycopg.errors import ForeignKeyViolation

from apps.audit.services import record
from apps.core.authentication import client_ip, user_actor
from apps.core.clock import now
from apps.core.context import bind, current, set_actor
from apps.core.contracts import Actor
from apps.core.errors import NotAuthenticated
from apps.core.ratelimit import Counted, Limit, enforce, give_back
from apps.events.services import publish
from apps.identity import jwt, known_devices
from apps.identity.book import HELD, facts_of, forget_sessions, hold, open_sign_in
from apps.identity.contracts import TokenPair
from apps.identity.factors import use_code
from apps.identity.first_step import first_factor_of, person_of_mfa_token
from apps.identity.models import FactorDevice, SignIn, User
from apps.identity.selectors import factor_list, user_has_second_factor
from apps.identity.services.passwords import check_password
from apps.identity.services.tokens import issue_pair

__all__ = [
    "MfaRequired",
    "login",
    "login_web",
    "mark_shown",
    "mark_shown_at",
    "start_sign_in",
    "valid_second_factor",
    "verify_second_factor",
]

_SECOND_FACTOR = Limit("second-factor", 8, 300)


class MfaRequired(NotAuthenticated):
    """The password was right and a second factor is wanted; ``extra`` carries the ``mfa_token``."""

    code, title = "mfa_required", "A second factor is needed"


# ---------------------------------------------------------------- over the API
def login(
    *, email: str, password: str, ip: str | None = None, user_agent: str = "", device: str | None = None,
    caller: Counted | None = None,
) -> TokenPair:  # fmt: skip
    """Sign in with a password; :class:`MfaRequired` where a second factor is enrolled. See :func:`check_password`."""
    user = check_password(email=email, password=password, ip=ip, device=device, caller=caller)
    if user_has_second_factor(user):
        raise MfaRequired(
            "Send a code to /auth/mfa/verify, or the answer of a security key (/auth/mfa/verify/begin asks for it)",
            extra={
                "mfa_token": jwt.issue_mfa_token(user_id=user.pk, shown=first_factor_of(user)),
                "factors": sorted({factor.kind for factor in factor_list(user.pk)}),
            },
        )
    return start_sign_in(user, method="password", ip=ip, user_agent=user_agent)


def verify_second_factor(*, mfa_token: str, code: str, ip: str | None = None, user_agent: str = "") -> TokenPair:
    """Finish a sign-in with a TOTP or a recovery code."""
    user = person_of_mfa_token(mfa_token)
    if not valid_second_factor(user, code):
        raise NotAuthenticated("The code is not right", code="invalid_mfa_code")
    return start_sign_in(user, method="password+mfa", ip=ip, user_agent=user_agent)


def valid_second_factor(user: User, code: str) -> bool:
    """Whether ``code`` is a TOTP code, used for the first time, or an unused recovery code (which it then uses up)."""
    from allauth.mfa.models import Authenticator

    enforce(_SECOND_FACTOR, str(user.pk), detail="Too many wrong codes")
    kinds = (Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES)
    factors = Authenticator.objects.filter(user=user, type__in=kinds).order_by("pk").values_list("pk", flat=True)
    valid = any(use_code(factor, code) for factor in factors)
    if valid:
        give_back(_SECOND_FACTOR, str(user.pk))
    return valid


def start_sign_in(user: User, *, method: str, ip: str | None, user_agent: str) -> TokenPair:
    """Begin a sign-in over the API of a person whose credentials were checked; ``method`` as in ``password+mfa``.

    :class:`NotAuthenticated` where they were deactivated, or got another password, since ``user`` was read.
    """
    try:
        with transaction.atomic():
            row = open_sign_in(user, kind=SignIn.Kind.API, methods=method.split("+"), ip=ip, user_agent=user_agent)
            _signed_in(user, method)
            return issue_pair(row)
    except IntegrityError as error:
        if not isinstance(error.__cause__, ForeignKeyViolation):
            raise
        # Its refresh token has no sign-in to belong to.
        raise NotAuthenticated("This changed while you signed in; start again", code="invalid_credentials") from error


def _signed_in(user: User, method: str) -> None:
    actor = current().actor
    with bind(actor=actor if actor.is_authenticated else _actor(user)):
        record(
            action="user.login", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
            after={"method": method},
        )  # fmt: skip
    publish(type="user.login", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "method": method})


def _actor(user: User) -> Actor:
    return replace(current().actor, kind="user", id=user.pk, label=user.email)


# ---------------------------------------------------------------- in a browser
def login_web(*, request: HttpRequest, user: User, method: str = "password") -> None:
    """Open the cookie session of a person whose credentials were checked; rotates the session's id.

    A sign-in that this browser was in before ends.
    """
    before = request.session.get(HELD)
    with transaction.atomic():
        django_login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        if {"mfa", "passkey"} & set(method.split("+")) and (
            device := FactorDevice.objects.filter(user=user, confirmed=True).first()
        ):
            # The staff admin asks django-otp, and has nothing left to ask for.
            otp_login(request, device)
        if before is not None:
            SignIn.objects.filter(pk=before["id"], ended_at=None).update(ended_at=now(), end_reason="replaced")
        row = open_sign_in(
            user, kind=SignIn.Kind.WEB, methods=method.split("+"), ip=client_ip(request),
            user_agent=request.headers.get("User-Agent", ""),
        )  # fmt: skip
        _by(request, row)
        known_devices.know(request, user.email)
        set_actor(user_actor(user, request))
        _signed_in(user, method)


def _by(request: HttpRequest, row: SignIn) -> None:
    """From here on the request, and its session, are of this sign-in as it is now."""
    hold(request.session, row)
    request.sign_in = facts_of(row)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- showing a credential again
def mark_shown(*, request: HttpRequest, session_id: UUID, user: User, method: str) -> datetime:
    """Write into the caller's sign-in, of either kind, that its person showed ``method`` just now; returns when.

    The id of a cookie session is rotated. Raises :class:`NotAuthenticated` where the sign-in has ended or is not
    theirs. Belongs into the caller's transaction, which leaves the entry of the trail.
    """
    moment = now()
    mark_shown_at(request=request, session_id=session_id, user=user, method=method, moment=moment)
    return moment


def mark_shown_at(*, request: HttpRequest, session_id: UUID, user: User, method: str, moment: datetime | None) -> None:
    """:func:`mark_shown` of a credential that was shown elsewhere, at ``moment``; None where that is not known."""
    row = SignIn.objects.select_for_update().filter(pk=session_id, user=user, ended_at=None).first()
    if row is None:
        raise NotAuthenticated("This sign-in has ended", code="session_ended")
    row.authenticated_at = moment
    row.methods = sorted({*row.methods, method})
    row.save(update_fields=["authenticated_at", "methods"])
    transaction.on_commit(forget_sessions)
    if row.kind == SignIn.Kind.WEB:
        request.session.cycle_key()
        _by(request, row)
        set_actor(user_actor(user, request))
