"""Passwords: whether one is right, a new one, and the way back for who forgot theirs."""

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest

from apps.audit.services import record, record_refusal
from apps.core.clock import now
from apps.core.errors import FieldError, NotAuthenticated, NotFound, ValidationFailed
from apps.core.ratelimit import Counted, Limit, Use, check, check_all, enforce, give_back_all, refusal_of
from apps.events.services import publish
from apps.identity import challenges, known_devices
from apps.identity.models import Challenge, SignIn, User, normalise_email
from apps.identity.ports import login_policy
from apps.identity.selectors import person_by_email
from apps.identity.services.addresses import ASKING, mail_allowed
from apps.identity.services.ending import end_all_sessions
from apps.identity.services.people import tell_changed
from apps.notify.services import send_email
from apps.scheduler.background import enqueue

__all__ = ["ask_reset", "change_password", "check_password", "reset_password", "reset_token_is_live", "send_reset"]

RESET = "reset-password"
_RESET_LIFETIME = timedelta(hours=1)
# An address that somebody tries again and again is slowed down for the network that tries, not for its owner elsewhere;
# the second limit slows a spray over many addresses from one network. A right password gives its use back, so an office
# that signs in on Monday morning counts nothing.
_PER_IDENTITY = Limit("login", 10, 300)
_PER_NETWORK = Limit("login-network", 300, 300)
# Guesses for one account from many networks. Where its owner has signed in before they still can; from anywhere else
# they have the way of a forgotten password, which opens this again.
_PER_ACCOUNT = Limit("login-account", 100, 3600)
# A browser that the person signed in with before is counted by itself: no stranger's guesses keep it out.
_PER_DEVICE = Limit("login-device", 10, 300)
# And all of theirs together: whoever once knew the password may have made themselves many.
_PER_OWNER = Limit("login-owner", 60, 300)
_KNOWN_FOR = timedelta(days=90)
_WRONG = "The e-mail address or the password is not right"


# ---------------------------------------------------------------- whether it is right
def check_password(
    *, email: str, password: str, ip: str | None, device: str | None = None, caller: Counted | None = None
) -> User:
    """The person whose password this is; the same refusal and the same work whether the address exists or not.

    ``device`` names a browser or a sign-in of theirs (:mod:`apps.identity.known_devices`); ``caller`` is what
    the request itself counts as.

    Where addresses must be verified, somebody whose address is not is refused alike, and mailed the link again. Raises
    :class:`NotAuthenticated`, :class:`RateLimited`, or what the login policy says.
    """
    email = normalise_email(email)
    _slow_down(email, ip, device, caller)
    user = person_by_email(email)
    if user is None:
        make_password(password)  # as slow as a real check, so that the time tells nothing
        known = False
    else:
        known = user.check_password(password) and user.is_active
        known = known and not _waits_for_its_address(user)
    if user is None or not known:
        record_refusal(
            action="user.login_refused", org_id=None, target_type="user",
            target_id=user.pk if user else "unknown", target_label=email, key=email,
        )  # fmt: skip
        raise NotAuthenticated(_WRONG, code="invalid_credentials")
    give_back_all(_uses(email, ip, device))
    if user.may_be_refused and (refusal := login_policy.get().refusal(email, "password")):
        raise refusal
    return user


def _uses(email: str, ip: str | None, device: str | None) -> list[Use]:
    if device is not None:
        return [(_PER_DEVICE, device, 1), (_PER_OWNER, email, 1)]
    return [(_PER_IDENTITY, f"{email}\x00{ip}", 1), (_PER_NETWORK, ip or "local", 1), (_PER_ACCOUNT, email, 1)]


def _slow_down(email: str, ip: str | None, device: str | None, caller: Counted | None) -> None:
    """Count a try against what it could be part of, until it has succeeded."""
    own: list[Use] = [(caller.limit, caller.identity, 1)] if caller is not None else []
    results = check_all([*own, *_uses(email, ip, device)])
    if caller is not None:
        caller.result = results.pop(0)
        if not caller.result.allowed:
            raise refusal_of(caller.result)
    *allowed, last = results
    if last.allowed:
        return
    if device is not None:
        where = "the browsers of this person" if allowed else "this browser"
        raise refusal_of(last, f"Too many wrong passwords from {where}")
    if not allowed:
        raise refusal_of(last, "Too many wrong passwords for this address from your network")
    if len(allowed) == 1:
        raise refusal_of(last, "Too many wrong passwords from your network")
    if not _has_been_here(email, ip):
        raise refusal_of(last, "Too many wrong passwords for this address")


def _has_been_here(email: str, ip: str | None) -> bool:
    """Whether the person of an address signed in from this network of late."""
    return SignIn.objects.filter(user__email=email, ip=ip, created_at__gt=now() - _KNOWN_FOR).exists()


def _waits_for_its_address(user: User) -> bool:
    from apps.identity.tasks import verification

    if not settings.VERIFY_ADDRESSES or user.email_verified_at is not None:
        return False
    enqueue(verification, email=user.email)
    return True


# ---------------------------------------------------------------- a new one
def change_password(
    *, user_id: UUID, current: str, new: str, ip: str | None, keep: UUID | None, request: HttpRequest
) -> None:
    """Give a signed-in person a new password, by their present one; their other sign-ins end, and they are told.

    ``keep`` is the sign-in that goes on, for which wrong passwords are counted. Raises as :func:`check_password` does,
    and :class:`ValidationFailed` for a wrong or weak password, or the present one.
    """
    person = User.objects.get(pk=user_id)
    try:
        check_password(email=person.email, password=current, ip=ip, device=known_devices.of_sign_in(keep))
    except NotAuthenticated as error:
        problem: FieldError = {"pointer": "/current_password", "detail": "This is not your present password"}
        raise ValidationFailed("The present password is not right", errors=[problem]) from error
    with transaction.atomic():
        user = User.objects.select_for_update(no_key=True).get(pk=user_id)
        _set(user, new, "/new_password")
        tell_changed(user, ["password"], before={}, after={}, reason="changed by the person")
        end_all_sessions(user_id=user.pk, reason="password_changed", keep=keep)
        if hasattr(request, "sign_in"):
            update_session_auth_hash(request, user)


def _set(user: User, password: str, pointer: str) -> None:
    """Check and store a password; whatever could still be done with the old one's links cannot any more."""
    problems: list[FieldError] = []
    try:
        validate_password(password, user)
    except ValidationError as error:
        problems = [{"pointer": pointer, "detail": message} for message in error.messages]
    if not problems and user.check_password(password):
        problems = [{"pointer": pointer, "detail": "This is your present password; choose another"}]
    if problems:
        raise ValidationFailed("The password is not good enough", errors=problems)
    user.password = make_password(password)
    user.save(update_fields=["password"])
    Challenge.objects.filter(user=user, purpose=RESET).delete()
    send_email(to=user.email, template="password_changed", context={"name": user.name, "at": now()}, org_id=None)


# ---------------------------------------------------------------- the way back
def ask_reset(*, email: str, ip: str | None) -> None:
    """Have the link to a new password mailed. Says nothing of whether there is an account, and works as much."""
    from apps.identity.tasks import reset_mail

    enforce(ASKING, ip or "local", detail="Too many requests for mail from your network")
    enqueue(reset_mail, email=normalise_email(email))


@transaction.atomic
def send_reset(*, email: str) -> bool:
    """Mail the link to a new password to the owner of an address, if it has one; whether a letter was sent.

    To somebody whose organisation enforces its single sign-on, the letter says so, and has the way there instead.
    """
    user = User.objects.filter(email=normalise_email(email), is_active=True).first()
    if user is None or not mail_allowed(email):
        return False
    held = login_policy.get().refusal(user.email, "password")
    if held is not None:
        # The page said the same as to everybody; only the letter, which only they read, says that no password helps.
        context = {"name": user.name, "sso_url": held.extra.get("sso_url", "")}
        send_email(to=user.email, template="reset_by_sso", context=context, org_id=None)
        return True
    token = challenges.begin(purpose=RESET, user_id=user.pk, data={"email": user.email}, lifetime=_RESET_LIFETIME)
    send_email(to=user.email, template="reset_password", context={"name": user.name, "token": token}, org_id=None)
    return True


def reset_token_is_live(token: str) -> bool:
    """Whether a link to a new password still works."""
    return challenges.look(purpose=RESET, token=token) is not None


@transaction.atomic
def reset_password(*, token: str, password: str) -> str:
    """Give the person of a mailed link a new password; every sign-in of theirs ends, and they are told. Returns their
    address.

    The link proves the address too. A password that is not good enough leaves the link as it is. Raises
    :class:`NotFound` for a link that is used or too old, :class:`ValidationFailed` for the password, and what the login
    policy says where it holds the person by now.
    """
    gone = NotFound("This link has been used, or is too old", code="token_invalid")
    begun = challenges.finish(purpose=RESET, token=token)
    if begun is None or begun.user_id is None:
        raise gone
    user = User.objects.select_for_update(no_key=True).filter(pk=begun.user_id, is_active=True).first()
    if user is None or user.email != begun.data["email"]:
        raise gone
    held = login_policy.get().refusal(user.email, "password")
    if held is not None:
        raise held
    _set(user, password, "/password")
    if user.email_verified_at is None:
        user.email_verified_at = now()
        user.save(update_fields=["email_verified_at"])
    record(
        action="user.password.reset", org_id=None, target_type="user", target_id=user.pk, target_label=user.email
    )  # fmt: skip
    publish(type="user.password.reset", org_id=None, user_id=user.pk, data={"user_id": str(user.pk)})
    end_all_sessions(user_id=user.pk, reason="password_reset")
    # Whoever guessed meanwhile must not keep the owner out with their new password.
    transaction.on_commit(lambda: _open_again(user.email))
    return user.email


def _open_again(email: str) -> None:
    """Nothing is counted against the account any more."""
    check(_PER_ACCOUNT, email, cost=-_PER_ACCOUNT.limit)
