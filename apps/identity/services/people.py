"""Registering people."""

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import FieldError, ValidationFailed
from apps.core.ratelimit import Limit, enforce
from apps.events.services import publish
from apps.identity.contracts import UserInfo
from apps.identity.models import User, normalise_email
from apps.identity.ports import login_policy
from apps.identity.selectors import user_info

__all__ = ["register", "registration_problems"]

_REGISTER = Limit("register", 300, 3600)


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
    limited for it, and refused for an address that may not sign in by a password.
    """
    if ip is not None:
        enforce(_REGISTER, ip, detail="Too many registrations from your network")
    email = normalise_email(email)
    if ip is not None and password is not None and (refusal := login_policy.get().refusal(email, "password")):
        raise refusal
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
