"""Registering people, and what they say of themselves."""

from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from apps.audit.services import record
from apps.core import ports
from apps.core.clock import now, zone_names
from apps.core.contracts import Actor
from apps.core.errors import FieldError, ValidationFailed
from apps.core.ids import uuid7
from apps.core.ratelimit import Limit, enforce
from apps.events.services import publish
from apps.identity.contracts import UserInfo
from apps.identity.models import User, normalise_email
from apps.identity.ports import login_policy
from apps.identity.selectors import user_info

__all__ = ["register", "registration_problems", "sign_up", "tell_changed", "update_profile"]

_REGISTER = Limit("register", 300, 3600)
_TAKEN: FieldError = {
    "pointer": "/email",
    "detail": "This address cannot be registered; sign in, or reset the password",
}


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
    limited for it, and refused for an address that may not sign in by a password. What strangers may call is
    :func:`sign_up`, which does not tell that an address is taken.
    """
    if ip is not None:
        enforce(_REGISTER, ip, detail="Too many registrations from your network")
        _ask_policy(email, password)
    user = _checked(email, password, name)
    user.is_staff, user.email_verified_at = is_staff, now() if email_verified else None
    user.password = make_password(password)
    try:
        with transaction.atomic():
            user.save()
            record(
                action="user.created", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
                after={"email": user.email, "name": user.name, "is_staff": is_staff},
            )  # fmt: skip
            publish(
                type="user.created", org_id=None, user_id=user.pk,
                data={"user_id": str(user.pk), "email": user.email, "name": user.name},
            )  # fmt: skip
    except IntegrityError as error:
        raise ValidationFailed("The registration is not valid", errors=[_TAKEN]) from error
    return user_info(user)


def _ask_policy(email: str, password: str | None) -> None:
    if password is not None and (refusal := login_policy.get().refusal(normalise_email(email), "password")):
        raise refusal


def _checked(email: str, password: str | None, name: str) -> User:
    user = User(email=normalise_email(email), name=name.strip())
    if problems := registration_problems(user, password):
        raise ValidationFailed("The registration is not valid", errors=problems)
    return user


def sign_up(*, email: str, password: str, name: str = "", ip: str | None = None) -> UserInfo:
    """Register a stranger. A taken address is answered as a new one, by as much work; its owner gets a mail instead.

    Raises :class:`ValidationFailed` for a bad address or a weak password, :class:`RateLimited` for their network, and
    what the login policy says of the address's domain.
    """
    from apps.identity.tasks import after_sign_up
    from apps.scheduler.background import enqueue

    if ip is not None:
        enforce(_REGISTER, ip, detail="Too many registrations from your network")
    _ask_policy(email, password)
    user = _checked(email, password, name)
    with transaction.atomic():
        try:
            with transaction.atomic():
                person = register(email=user.email, password=password, name=name)
        except ValidationFailed:
            person = None
            record(
                action="user.registration_refused", org_id=None, target_type="user", target_id="unknown",
                target_label=user.email, reason="the address is registered",
            )  # fmt: skip
        enqueue(after_sign_up, email=user.email, is_new=person is not None)
    return person or UserInfo(id=uuid7(), email=user.email, name=user.name)


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


# ---------------------------------------------------------------- what they say of themselves
@transaction.atomic
def update_profile(*, user_id: UUID, changes: dict[str, Any]) -> UserInfo:
    """Change ``name``, ``timezone`` (IANA; empty: the organisation's) or ``default_org_id`` (theirs, or None)."""
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    changes = {field: value.strip() if isinstance(value, str) else value for field, value in changes.items()}
    _check_profile(user_id, changes)
    before = {field: getattr(user, field) for field in changes}
    changed = [field for field in changes if before[field] != changes[field]]
    if changed:
        for field in changed:
            setattr(user, field, changes[field])
        user.save(update_fields=changed)
        tell_changed(user, changed, before=before, after=changes)
    return user_info(user)


def _check_profile(user_id: UUID, changes: dict[str, Any]) -> None:
    problems: list[FieldError] = []
    if changes.get("timezone") and changes["timezone"] not in zone_names():
        problems.append({"pointer": "/timezone", "detail": "This is no time zone, such as Europe/Vienna"})
    org_id = changes.get("default_org_id")
    if org_id and not ports.permissions.get().is_member(Actor(kind="user", id=user_id), org_id):
        problems.append({"pointer": "/default_org_id", "detail": "You belong to no such organisation"})
    if problems:
        raise ValidationFailed("Some fields are not valid", errors=problems)


def tell_changed(
    user: User, changed: list[str], *, before: dict[str, Any], after: dict[str, Any], reason: str = ""
) -> None:
    """The entry and the event of a person whose data changed, in the caller's transaction."""
    record(
        action="user.updated", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        before=before, after=after, reason=reason,
    )  # fmt: skip
    data = {"user_id": str(user.pk), "changed": sorted(changed)}
    publish(type="user.updated", org_id=None, user_id=user.pk, data=data)
