"""Who is staff: admitting people to the staff admin, and dismissing them."""

from typing import Any

from django.contrib.auth.hashers import make_password
from django.db import transaction

from apps.core.errors import Conflict, FieldError, NotFound, ValidationFailed
from apps.identity.contracts import UserInfo
from apps.identity.models import User, normalise_email
from apps.identity.selectors import user_info
from apps.identity.services import end_all_sessions, register, registration_problems
from apps.identity.services.people import tell_changed

__all__ = ["admit_staff", "dismiss_staff"]


@transaction.atomic
def admit_staff(*, email: str, password: str | None = None, name: str = "") -> UserInfo:
    """Let a person into the staff admin; who is not known is registered, with ``password``.

    Somebody who is known keeps their name and password unless others are given; a new password ends their sign-ins.
    Raises :class:`ValidationFailed` for a bad address, a weak password, or none for somebody new; :class:`Conflict` for
    those who are staff already or deactivated.
    """
    email = normalise_email(email)
    user = User.objects.select_for_update(no_key=True).filter(email=email).first()
    if user is None:
        if password is None:
            problem: FieldError = {"pointer": "/password", "detail": "Somebody new needs one"}
            raise ValidationFailed("The registration is not valid", errors=[problem])
        return register(email=email, password=password, name=name, is_staff=True, email_verified=True)
    if user.is_staff or not user.is_active:
        raise Conflict(f"{email} is {'staff already' if user.is_staff else 'deactivated'}; nothing was changed")
    if password is not None and (problems := registration_problems(user, password)):
        raise ValidationFailed("The password is not good enough", errors=problems)
    changes: dict[str, Any] = {"is_staff": True}
    if name.strip():
        changes["name"] = name.strip()
    if password is not None:
        changes["password"] = make_password(password)
        end_all_sessions(user_id=user.pk, reason="password_changed")
    _change(user, changes, reason="admitted to the staff")
    return user_info(user)


@transaction.atomic
def dismiss_staff(*, email: str) -> UserInfo:
    """Take a person off the staff and end all their sign-ins: the staff admin is closed to them at once.

    They stay a person with their memberships. :class:`NotFound` for an unknown address, :class:`Conflict` where they
    are not staff.
    """
    email = normalise_email(email)
    user = User.objects.select_for_update(no_key=True).filter(email=email).first()
    if user is None:
        raise NotFound(f"Nobody is registered as {email}")
    if not user.is_staff:
        raise Conflict(f"{email} is not staff; nothing was changed")
    _change(user, {"is_staff": False}, reason="dismissed from the staff")
    end_all_sessions(user_id=user.pk, reason="dismissed_from_staff")
    return user_info(user)


def _change(user: User, changes: dict[str, Any], *, reason: str) -> None:
    before = {name: getattr(user, name) for name in changes}
    for name, value in changes.items():
        setattr(user, name, value)
    user.save(update_fields=list(changes))
    tell_changed(user, list(changes), before=before, after=changes, reason=reason)
