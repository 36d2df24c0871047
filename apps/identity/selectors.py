"""Reads of people and of how they are signed in."""

from collections.abc import Iterable
from uuid import UUID

from django.contrib.auth.models import AnonymousUser

from apps.core.errors import NotFound
from apps.identity.contracts import UserInfo
from apps.identity.models import User, normalise_email

__all__ = [
    "normal_email",
    "user_by_email",
    "user_find",
    "user_get",
    "user_has_second_factor",
    "user_info",
    "users_by_emails",
    "users_by_ids",
]


def user_info(user: User) -> UserInfo:
    """The contract of a row."""
    return UserInfo(
        id=user.pk,
        email=user.email,
        name=user.name,
        is_active=user.is_active,
        email_verified=user.email_verified_at is not None,
        timezone=user.timezone,
        default_org_id=user.default_org_id,
    )


def normal_email(email: str) -> str:
    """The one spelling of an address that is stored and compared."""
    return normalise_email(email)


def user_find(user_id: UUID) -> UserInfo | None:
    """A person by id, or None."""
    user = User.objects.filter(pk=user_id).first()
    return user_info(user) if user else None


def user_get(user_id: UUID) -> UserInfo:
    """A person by id; :class:`NotFound` otherwise."""
    found = user_find(user_id)
    if found is None:
        raise NotFound()
    return found


def user_by_email(email: str) -> UserInfo | None:
    """A person by address, whatever its case."""
    user = User.objects.filter(email=normalise_email(email)).first()
    return user_info(user) if user else None


def users_by_ids(ids: Iterable[UUID]) -> dict[UUID, UserInfo]:
    """Those of ``ids`` that exist."""
    return {user.pk: user_info(user) for user in User.objects.filter(pk__in=set(ids))}


def users_by_emails(emails: Iterable[str]) -> dict[str, UserInfo]:
    """Those of ``emails`` that exist, by their normal spelling."""
    wanted = {normalise_email(email) for email in emails}
    return {user.email: user_info(user) for user in User.objects.filter(email__in=wanted)}


def user_has_second_factor(user: User | AnonymousUser) -> bool:
    """Whether a TOTP factor is active for the person."""
    from allauth.mfa.models import Authenticator

    return user.is_authenticated and Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists()
