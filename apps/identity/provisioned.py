"""People whose provider, not a password, says who they are: made, taken over, and asked for their second factor."""

from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.db import transaction

from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.events.services import publish
from apps.identity.contracts import UserInfo
from apps.identity.models import SignIn, User
from apps.identity.selectors import user_has_second_factor, user_info
from apps.identity.services import end_all_sessions
from apps.identity.services.ending import end_rows

__all__ = [
    "PROVIDER_METHODS",
    "end_unprovided",
    "person_for_sign_in",
    "person_has_second_factor",
    "rename_person",
    "take_over_unverified",
]


# How sign-ins by an organisation's own provider are named.
PROVIDER_METHODS = frozenset({"oidc", "saml"})


@transaction.atomic
def end_unprovided(*, user_id: UUID, reason: str) -> int:
    """End the sign-ins of a person that no provider opened, in browsers and over the API; returns how many."""
    user = User.objects.select_for_update(no_key=True).get(pk=user_id)
    live = SignIn.objects.filter(user=user, ended_at=None).exclude(methods__overlap=sorted(PROVIDER_METHODS))
    rows = list(live.select_for_update().order_by("pk"))
    if rows:
        end_rows(rows, user=user, reason=reason)
    return len(rows)


def person_for_sign_in(user_id: UUID) -> User:
    """The row of an active person, for :func:`apps.identity.services.login_web`; :class:`NotFound` otherwise."""
    user = User.objects.filter(pk=user_id, is_active=True).first()
    if user is None:
        raise NotFound()
    return user


def person_has_second_factor(user_id: UUID) -> bool:
    """Whether a person, by id, has a second factor; False for one who does not exist."""
    user = User.objects.filter(pk=user_id).first()
    return user is not None and user_has_second_factor(user)


@transaction.atomic
def take_over_unverified(*, user_id: UUID, reason: str) -> UserInfo:
    """Give an account whose address nobody proved to the one who proved it: whoever made it can enter no more.

    Its password is gone, its second factors are removed and its sessions end, since a stranger may have made it in wait
    for the address's owner. Does nothing to an account whose address is verified.
    """
    from allauth.mfa.models import Authenticator

    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound()
    if user.email_verified_at is not None:
        return user_info(user)
    user.password, user.email_verified_at = make_password(None), now()
    user.save(update_fields=["password", "email_verified_at"])
    Authenticator.objects.filter(user=user).delete()
    end_all_sessions(user_id=user.pk, reason=reason)
    record(
        action="user.updated", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        before={"email_verified": False}, after={"email_verified": True}, reason=reason,
    )  # fmt: skip
    publish(
        type="user.updated", org_id=None, user_id=user.pk,
        data={"user_id": str(user.pk), "changed": ["email_verified"]},
    )  # fmt: skip
    return user_info(user)


@transaction.atomic
def rename_person(*, user_id: UUID, name: str) -> None:
    """Call a person as their provider does; an empty name changes nothing."""
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    name = name.strip()[:150]
    if user is None or not name or user.name == name:
        return
    before, user.name = user.name, name
    user.save(update_fields=["name"])
    record(
        action="user.updated", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        before={"name": before}, after={"name": name},
    )  # fmt: skip
    publish(type="user.updated", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "changed": ["name"]})
