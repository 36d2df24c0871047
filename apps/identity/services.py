"""Writes of identity: registering, signing in and out, refresh tokens, signing keys."""

from dataclasses import asdict
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import login as django_login
from django.contrib.auth import logout as django_logout
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.http import HttpRequest
from django_otp import login as otp_login

from apps.audit.services import record
from apps.core.authentication import SHOWN, user_actor
from apps.core.clock import now
from apps.core.context import bind, current, set_actor
from apps.core.crypto import new_token, token_digest, token_digests
from apps.core.errors import FieldError, NotAuthenticated, ValidationFailed
from apps.core.ratelimit import Limit, enforce, give_back
from apps.events.services import publish
from apps.identity import jwt
from apps.identity.authentication import forget_sessions
from apps.identity.contracts import TokenPair, UserInfo
from apps.identity.factors import use_code
from apps.identity.models import FactorDevice, RefreshToken, SigningKey, TokenFamily, User, normalise_email
from apps.identity.ports import login_policy
from apps.identity.selectors import user_has_second_factor, user_info

__all__ = [
    "MfaRequired",
    "check_password",
    "end_all_sessions",
    "login",
    "login_web",
    "logout",
    "logout_web",
    "prune_sign_ins",
    "refresh",
    "register",
    "registration_problems",
    "rotate_signing_key",
    "verify_second_factor",
]

_REFRESH_PURPOSE = "refresh-token"
_KEY_OVERLAP = timedelta(hours=1)
_KEPT_AFTER_THE_END = timedelta(days=30)
# An address that somebody tries again and again is slowed down for the network that tries, not for its owner elsewhere;
# the second limit slows a spray over many addresses from one network. A right password gives its use back, so an office
# that signs in on Monday morning counts nothing.
_PER_IDENTITY = Limit("login", 10, 300)
_PER_NETWORK = Limit("login-network", 300, 300)
_REGISTER = Limit("register", 300, 3600)
_SECOND_FACTOR = Limit("second-factor", 8, 300)
_WRONG = "The e-mail address or the password is not right"


class MfaRequired(NotAuthenticated):
    """The password was right and a second factor is wanted; ``extra`` carries the ``mfa_token``."""

    code, title = "mfa_required", "A second factor is needed"


# ---------------------------------------------------------------- people
def register(
    *,
    email: str,
    password: str | None,
    name: str = "",
    ip: str | None = None,
    is_staff: bool = False,
    email_verified: bool = False,
) -> UserInfo:
    """Make a person. Raises :class:`ValidationFailed` for a bad or taken address, or a weak password.

    Without ``password`` they have none to sign in with. Registrations that name the network they come from (``ip``) are
    limited for it.
    """
    if ip is not None:
        enforce(_REGISTER, ip, detail="Too many registrations from your network")
    email = normalise_email(email)
    user = User(email=email, name=name.strip(), is_staff=is_staff, email_verified_at=now() if email_verified else None)
    if problems := registration_problems(user, password):
        raise ValidationFailed("The registration is not valid", errors=problems)
    user.password = make_password(password)
    try:
        with transaction.atomic():
            user.save()
            record(
                action="user.created", org_id=None, target_type="user", target_id=user.pk, target_label=email,
                after={"email": email, "name": user.name, "is_staff": is_staff},
            )  # fmt: skip
            publish(
                type="user.created", org_id=None, user_id=user.pk,
                data={"user_id": str(user.pk), "email": email, "name": user.name},
            )  # fmt: skip
    except IntegrityError as error:
        raise ValidationFailed(
            "The registration is not valid",
            errors=[
                {"pointer": "/email", "detail": "This address cannot be registered; sign in, or reset the password"}
            ],
        ) from error
    return user_info(user)


def registration_problems(user: User, password: str | None) -> list[FieldError]:
    """What speaks against an address and a password, each with where it is wrong."""
    problems: list[FieldError] = []
    try:
        validate_email(user.email)
    except ValidationError:
        problems.append({"pointer": "/email", "detail": "This is not an e-mail address"})
    if password is None:
        return problems
    try:
        validate_password(password, user)
    except ValidationError as error:
        problems += [{"pointer": "/password", "detail": message} for message in error.messages]
    return problems


# ---------------------------------------------------------------- passwords
def check_password(*, email: str, password: str, ip: str | None) -> User:
    """The person whose password this is; the same refusal and the same work whether the address exists or not.

    Raises :class:`NotAuthenticated`, :class:`RateLimited`, or what the login policy says.
    """
    email = normalise_email(email)
    network, identity = ip or "local", f"{email}\x00{ip}"
    enforce(_PER_IDENTITY, identity, detail="Too many wrong passwords for this address from your network")
    enforce(_PER_NETWORK, network, detail="Too many wrong passwords from your network")
    user = User.objects.filter(email=email).first()
    if user is None:
        make_password(password)  # as slow as a real check, so that the time tells nothing
        known = False
    else:
        known = user.check_password(password) and user.is_active
    if user is None or not known:
        with transaction.atomic():
            record(
                action="user.login_refused", org_id=None, target_type="user",
                target_id=user.pk if user else "unknown", target_label=email,
            )  # fmt: skip
        raise NotAuthenticated(_WRONG, code="invalid_credentials")
    give_back(_PER_IDENTITY, identity)
    give_back(_PER_NETWORK, network)
    if refusal := login_policy.get().refusal(email, "password"):
        raise refusal
    return user


# ---------------------------------------------------------------- signing in over the API
def login(*, email: str, password: str, ip: str | None = None, user_agent: str = "") -> TokenPair:
    """Sign in with a password; :class:`MfaRequired` where a second factor is enrolled."""
    user = check_password(email=email, password=password, ip=ip)
    if user_has_second_factor(user):
        raise MfaRequired(
            "Send the code of your authenticator to /auth/mfa/verify",
            extra={"mfa_token": jwt.issue_mfa_token(user_id=user.pk)},
        )
    return start_sign_in(user, method="password", ip=ip, user_agent=user_agent)


def verify_second_factor(*, mfa_token: str, code: str, ip: str | None = None, user_agent: str = "") -> TokenPair:
    """Finish a sign-in with a TOTP or a recovery code."""
    try:
        user_id = jwt.verify_mfa_token(mfa_token)
    except jwt.InvalidToken as error:
        raise NotAuthenticated("The sign-in took too long; start again", code="invalid_token") from error
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None or not valid_second_factor(user, code):
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


@transaction.atomic
def start_sign_in(user: User, *, method: str, ip: str | None, user_agent: str) -> TokenPair:
    """Open a sign-in over the API for a person whose credentials were checked."""
    moment = now()
    family = TokenFamily.objects.create(
        user=user, ip=ip, user_agent=user_agent[:300], expires_at=moment + settings.JWT_REFRESH_LIFETIME
    )
    User.objects.filter(pk=user.pk).update(last_login=moment)
    _signed_in(user, method)
    return _issue(family)


def _signed_in(user: User, method: str) -> None:
    actor = current().actor
    with bind(actor=actor if actor.is_authenticated else _actor(user)):
        record(
            action="user.login", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
            after={"method": method},
        )  # fmt: skip
    publish(type="user.login", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "method": method})


def _actor(user: User) -> Any:
    from dataclasses import replace

    return replace(current().actor, kind="user", id=user.pk, label=user.email)


def _issue(family: TokenFamily) -> TokenPair:
    token = new_token()
    RefreshToken.objects.create(family=family, digest=token_digest(token, _REFRESH_PURPOSE))
    return TokenPair(
        access_token=jwt.issue_access_token(user_id=family.user_id, session_id=family.pk),
        refresh_token=token,
        expires_in=int(settings.JWT_ACCESS_LIFETIME.total_seconds()),
    )


def refresh(*, refresh_token: str) -> TokenPair:
    """Trade a refresh token for a new pair. A token that was used before ends its whole family.

    Of two requests with the same token one wins; the other counts as reuse, because a thief cannot be told from a
    client that lost its answer.
    """
    refused = NotAuthenticated("This refresh token is not valid", code="invalid_refresh_token")
    with transaction.atomic():
        token = (
            RefreshToken.objects.select_for_update(of=("self",))
            .select_related("family__user")
            .filter(digest__in=token_digests(refresh_token, _REFRESH_PURPOSE))
            .first()
        )
        if token is None:
            raise refused
        family = TokenFamily.objects.select_for_update().get(pk=token.family_id)
        moment = now()
        if token.used_at is None and family.is_live(moment) and token.family.user.is_active:
            RefreshToken.objects.filter(pk=token.pk).update(used_at=moment)
            TokenFamily.objects.filter(pk=family.pk).update(
                last_used_at=moment, expires_at=moment + settings.JWT_REFRESH_LIFETIME
            )
            return _issue(family)
        if token.used_at is not None and family.ended_at is None:
            _end_families([family], user=token.family.user, reason="refresh_token_reused")
    raise refused


def logout(*, session_id: UUID) -> None:
    """End one sign-in: its refresh tokens now, its access tokens within a second on every process."""
    with transaction.atomic():
        family = TokenFamily.objects.select_for_update().select_related(None).filter(pk=session_id).first()
        if family is None or family.ended_at is not None:
            return
        user = User.objects.get(pk=family.user_id)
        TokenFamily.objects.filter(pk=family.pk).update(ended_at=now(), end_reason="logout")
        _signed_out(user)
    forget_sessions()


def _signed_out(user: User) -> None:
    record(action="user.logout", org_id=None, target_type="user", target_id=user.pk, target_label=user.email)
    publish(type="user.logout", org_id=None, user_id=user.pk, data={"user_id": str(user.pk)})


@transaction.atomic
def end_all_sessions(*, user_id: UUID, reason: str) -> int:
    """End every sign-in of a person, over the API and on the web; returns how many API sign-ins ended."""
    user = User.objects.select_for_update().get(pk=user_id)
    families = list(TokenFamily.objects.filter(user=user, ended_at__isnull=True))
    _end_families(families, user=user, reason=reason)
    for session in Session.objects.filter(expire_date__gt=now()).iterator():
        if session.get_decoded().get("_auth_user_id") == str(user_id):
            session.delete()
    return len(families)


def _end_families(families: list[TokenFamily], *, user: User, reason: str) -> None:
    TokenFamily.objects.filter(pk__in=[family.pk for family in families]).update(ended_at=now(), end_reason=reason)
    record(
        action="user.session.invalid", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"sessions": [str(family.pk) for family in families]}, reason=reason,
    )  # fmt: skip
    publish(type="user.session.invalid", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "reason": reason})
    transaction.on_commit(forget_sessions)


# ---------------------------------------------------------------- signing in on the web
def login_web(*, request: HttpRequest, user: User, method: str = "password") -> None:
    """Open the cookie session of a person whose credentials were checked; rotates the session's id."""
    with transaction.atomic():
        django_login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        if {"mfa", "passkey"} & set(method.split("+")) and (
            device := FactorDevice.objects.filter(user=user, confirmed=True).first()
        ):
            # The staff admin asks django-otp, and has nothing left to ask for.
            otp_login(request, device)
        request.session[SHOWN] = {"at": now().timestamp(), "methods": method.split("+")}
        set_actor(user_actor(user, request))
        _signed_in(user, method)


def logout_web(*, request: HttpRequest) -> None:
    """Close the cookie session."""
    user = request.user
    with transaction.atomic():
        if isinstance(user, User):
            _signed_out(user)
        django_logout(request)


# ---------------------------------------------------------------- signing keys
@transaction.atomic
def rotate_signing_key() -> UUID:
    """Make a new signing key and retire those whose successor is an hour old; returns the new key's id.

    The key that signed until now goes on verifying: its tokens live for minutes, and other processes may sign with it
    for some seconds more.
    """
    key = jwt.make_key()
    record(action="signing_key.created", org_id=None, target_type="signing_key", target_id=key.pk)
    live = list(SigningKey.objects.filter(retired_at__isnull=True).order_by("-created_at", "-id"))
    for successor, old in pairwise(live):
        if successor.created_at < now() - _KEY_OVERLAP:
            SigningKey.objects.filter(pk=old.pk).update(retired_at=now())
            record(action="signing_key.retired", org_id=None, target_type="signing_key", target_id=old.pk)
    transaction.on_commit(jwt.forget_keys)
    return key.pk


# ---------------------------------------------------------------- retention
def prune_sign_ins() -> dict[str, int]:
    """Delete sign-ins that ended a month ago and web sessions that expired; returns how many of each.

    Of a sign-in that goes on, refresh tokens used longer ago than one lives go too: shown again they are unknown, so
    refused all the same.
    """
    ended = now() - _KEPT_AFTER_THE_END
    families, _ = TokenFamily.objects.filter(Q(ended_at__lt=ended) | Q(expires_at__lt=ended)).delete()
    tokens, _ = RefreshToken.objects.filter(used_at__lt=now() - settings.JWT_REFRESH_LIFETIME).delete()
    sessions, _ = Session.objects.filter(expire_date__lt=now()).delete()
    return {"sign_ins": families, "refresh_tokens": tokens, "sessions": sessions}


def as_body(pair: TokenPair) -> dict[str, Any]:
    """The body that login and refresh answer with."""
    return asdict(pair)
