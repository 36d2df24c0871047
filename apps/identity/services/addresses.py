"""Addresses: proved by a link that only their owner can read, and changed the same way."""

from datetime import timedelta
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import FieldError, NotFound, ValidationFailed
from apps.core.ratelimit import Limit, check, enforce
from apps.identity import challenges
from apps.identity.contracts import UserInfo
from apps.identity.models import Challenge, User, normalise_email
from apps.identity.selectors import user_info
from apps.identity.services.people import tell_changed
from apps.notify.services import send_email

__all__ = ["ask_new_address", "ask_verification", "mail_allowed", "send_verification", "tell_registered",
           "verify_address"]  # fmt: skip

VERIFY, CHANGE = "verify-email", "change-email"
_LIFETIME = timedelta(hours=24)
# No address gets more than this from us at a stranger's wish; a network is slowed down besides.
_MAILS = Limit("account-mail", 4, 3600)
ASKING = Limit("account-mail-network", 60, 3600)


def mail_allowed(email: str) -> bool:
    """Whether an address may be sent another mail that anybody can ask for; uses one up. Nobody is told."""
    return check(_MAILS, normalise_email(email)).allowed


def ask_verification(*, email: str, ip: str | None) -> None:
    """Have the verification mail sent again. Says nothing of whether there is an account, or one that is verified."""
    from apps.identity.tasks import verification
    from apps.scheduler.background import enqueue

    enforce(ASKING, ip or "local", detail="Too many requests for mail from your network")
    enqueue(verification, email=normalise_email(email))


@transaction.atomic
def send_verification(*, email: str) -> bool:
    """Mail the link that proves an address, where it is of somebody who has not proved it; whether it was sent."""
    user = User.objects.filter(email=normalise_email(email), email_verified_at=None, is_active=True).first()
    if user is None or not mail_allowed(email):
        return False
    token = challenges.begin(purpose=VERIFY, user_id=user.pk, data={"email": user.email}, lifetime=_LIFETIME)
    send_email(to=user.email, template="verify_address", context={"name": user.name, "token": token}, org_id=None)
    return True


@transaction.atomic
def tell_registered(*, email: str) -> bool:
    """Tell the owner of an address that somebody tried to register it; whether a mail was sent."""
    user = User.objects.filter(email=normalise_email(email), is_active=True).first()
    if user is None or not mail_allowed(email):
        return False
    send_email(to=user.email, template="already_registered", context={"name": user.name}, org_id=None)
    return True


@transaction.atomic
def ask_new_address(*, user_id: UUID, email: str) -> None:
    """Mail the link that makes ``email`` the person's address to that address; until it is opened nothing changes.

    An address that somebody has already is answered alike; its owner is told. Raises :class:`ValidationFailed` for what
    is no address.
    """
    user = User.objects.get(pk=user_id)
    email = normalise_email(email)
    try:
        validate_email(email)
    except ValidationError as error:
        problem: FieldError = {"pointer": "/email", "detail": "This is not an e-mail address"}
        raise ValidationFailed("The address is not valid", errors=[problem]) from error
    record(
        action="user.address_asked", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"email": email},
    )  # fmt: skip
    if email == user.email or User.objects.filter(email=email).exists():
        tell_registered(email=email)
    elif mail_allowed(email):
        Challenge.objects.filter(user=user, purpose=CHANGE).delete()
        token = challenges.begin(purpose=CHANGE, user_id=user.pk, data={"email": email}, lifetime=_LIFETIME)
        send_email(to=email, template="new_address", context={"name": user.name, "token": token}, org_id=None)


@transaction.atomic
def verify_address(*, token: str) -> UserInfo:
    """Take an address for its person's, by the token of its mail; :class:`NotFound` for one that is used or too old."""
    begun = challenges.finish(purpose=VERIFY, token=token) or challenges.finish(purpose=CHANGE, token=token)
    if begun is None or begun.user_id is None:
        raise NotFound("This link has been used, or is too old", code="token_invalid")
    user = User.objects.select_for_update(no_key=True).filter(pk=begun.user_id, is_active=True).first()
    if user is None:
        raise NotFound("This link has been used, or is too old", code="token_invalid")
    if begun.data["email"] == user.email:
        _verified(user)
    else:
        _moved(user, begun.data["email"])
    return user_info(user)


def _verified(user: User) -> None:
    if user.email_verified_at is None:
        user.email_verified_at = now()
        user.save(update_fields=["email_verified_at"])
        tell_changed(user, ["email_verified_at"], before={"email_verified": False}, after={"email_verified": True})


def _moved(user: User, email: str) -> None:
    """The new address is theirs; the old one is told, should it not have been them."""
    before, user.email, user.email_verified_at = user.email, email, now()
    try:
        with transaction.atomic():
            user.save(update_fields=["email", "email_verified_at"])
    except IntegrityError as error:
        raise NotFound("This address cannot be taken any more", code="token_invalid") from error
    tell_changed(user, ["email"], before={"email": before}, after={"email": email})
    Challenge.objects.filter(user=user).exclude(purpose=VERIFY).delete()
    send_email(to=before, template="address_changed", context={"name": user.name, "email": email}, org_id=None)
