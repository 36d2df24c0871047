"""Signing in with a provider: who a provider's account is here.

A person is found by the provider's id of them (``subject``), never by an address. docs/decisions/0014 says why an
address alone links nothing unless an operator says so.
"""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from django.conf import settings
from django.db import transaction

from apps.audit.services import record
from apps.core.clock import now
from apps.core.crypto import constant_time_equal, new_token
from apps.core.errors import Conflict, NotFound, PermissionDenied
from apps.core.ratelimit import Limit, enforce
from apps.identity import challenges, oauth_providers, services
from apps.identity.models import FactorDevice, OAuthIdentity, User, normalise_email
from apps.identity.oauth_providers import NAMES, OAuthFailed, Profile
from apps.identity.proofs import ask_policy
from apps.notify.services import send_email

__all__ = ["Arrival", "Intent", "LinkFirst", "arrive", "identities_of", "leave", "link", "sign_in", "unlink"]

Intent = Literal["sign_in", "link", "confirm"]
_PURPOSE = "oauth"
_LIMIT = Limit("oauth", 300, 300)


class LinkFirst(Conflict):
    """The address belongs to somebody here: whoever it is signs in to that account first, and links it there."""

    code, title = "link_first", "You have an account already"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who came back from a provider, and what they had left for; ``user_id`` is who was signed in then."""

    profile: Profile
    intent: Intent
    target: str
    user_id: UUID | None


def leave(
    *, provider: str, intent: Intent, target: str, binding: str, user_id: UUID | None = None, ip: str | None = None
) -> str:
    """Begin: the provider's address to send the browser to. ``binding`` is a secret that this browser alone holds."""
    enforce(_LIMIT, ip or "local", detail="Too many sign-ins from your network")
    verifier, nonce = new_token(), new_token()
    held = {
        "provider": provider, "intent": intent, "next": target, "binding": binding, "verifier": verifier,
        "nonce": nonce,
    }  # fmt: skip
    oauth_providers.authorize_url(provider, state="", nonce="", verifier="")  # one that is not offered begins nothing
    state = challenges.begin(purpose=_PURPOSE, data=held, user_id=user_id)
    return oauth_providers.authorize_url(
        provider, state=state, nonce=nonce, verifier=verifier, again=intent == "confirm"
    )


def arrive(*, state: str, code: str, binding: str) -> Arrival:
    """Finish, once: who the code stands for. :class:`OAuthFailed` where this browser did not begin it."""
    begun = challenges.finish(purpose=_PURPOSE, token=state)
    if begun is None or not binding or not constant_time_equal(begun.data["binding"], binding):
        raise OAuthFailed("This sign-in was not begun in this browser, took too long, or was finished already")
    held = begun.data
    if not code:
        raise OAuthFailed(f"{NAMES[held['provider']]} did not let you through")
    profile = oauth_providers.identify(held["provider"], code=code, verifier=held["verifier"], nonce=held["nonce"])
    return Arrival(profile, held["intent"], held["next"], begun.user_id)


# ---------------------------------------------------------------- who it is
def sign_in(*, profile: Profile, ip: str | None) -> User:
    """The person of a provider's account, who may sign in by it; registered where the address is new.

    Raises :class:`LinkFirst` where the address is somebody's here, :class:`OAuthFailed` where the provider has no
    verified one, or what the login policy says.
    """
    known = OAuthIdentity.objects.select_related("user").filter(provider=profile.provider, subject=profile.subject)
    identity = known.first()
    if identity is not None:
        if not identity.user.is_active:
            raise OAuthFailed("This account cannot sign in")
        ask_policy(identity.user, "oauth")
        OAuthIdentity.objects.filter(pk=identity.pk).update(
            last_used_at=now(), email=normalise_email(profile.email) or identity.email
        )
        return identity.user
    return _newcomer(profile, ip)


def _newcomer(profile: Profile, ip: str | None) -> User:
    name = NAMES[profile.provider]
    if not profile.email:
        raise OAuthFailed(f"{name} knows no verified address of yours; verify one there, or sign in another way")
    email = normalise_email(profile.email)
    user = User.objects.filter(email=email).first()
    if user is None:
        ask_policy(User(email=email), "oauth")
        with transaction.atomic():
            person = services.register(email=email, password=None, name=profile.name, ip=ip, email_verified=True)
            user = User.objects.get(pk=person.id)
            _link(user, profile, tell=False)
        return user
    if not (settings.OAUTH_LINK_BY_ADDRESS and user.email_verified_at and user.is_active):
        raise LinkFirst(
            f"An account with the address {email} exists. Sign in to it as you did before; then you can link your "
            f"{name} account to it"
        )
    ask_policy(user, "oauth")
    link(user=user, profile=profile)
    return user


# ---------------------------------------------------------------- linking
def link(*, user: User, profile: Profile) -> None:
    """Let a provider's account sign this person in; Conflict where it is somebody else's, or they have another."""
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        taken = OAuthIdentity.objects.filter(provider=profile.provider, subject=profile.subject).first()
        if taken is not None and taken.user_id == user.pk:
            return
        if taken is not None:
            raise Conflict(f"This {NAMES[profile.provider]} account signs somebody else in here", code="provider_taken")
        if OAuthIdentity.objects.filter(user=user, provider=profile.provider).exists():
            raise Conflict(
                f"Another {NAMES[profile.provider]} account is linked; remove it first", code="provider_linked"
            )
        _link(user, profile, tell=True)


def _link(user: User, profile: Profile, *, tell: bool) -> None:
    OAuthIdentity.objects.create(
        user=user, provider=profile.provider, subject=profile.subject, email=normalise_email(profile.email),
        last_used_at=now(),
    )  # fmt: skip
    record(
        action="user.provider.linked", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"provider": profile.provider, "email": profile.email},
    )  # fmt: skip
    if tell:
        _tell(user, "provider_linked", profile.provider)


@transaction.atomic
def unlink(*, user: User, provider: str) -> None:
    """Take a provider's account away; refused where it is the last way in. NotFound where none is linked."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    identity = OAuthIdentity.objects.filter(user=user, provider=provider).first()
    if identity is None:
        raise NotFound()
    others = OAuthIdentity.objects.filter(user=user).exclude(pk=identity.pk).exists()
    passkeys = FactorDevice.objects.filter(user=user, is_passkey=True).exists()
    if not (user.has_usable_password() or others or passkeys):
        raise PermissionDenied("This is your last way in: set a password or add a passkey first", code="last_way_in")
    identity.delete()
    record(
        action="user.provider.unlinked", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        before={"provider": provider, "email": identity.email},
    )  # fmt: skip
    _tell(user, "provider_unlinked", provider)


def _tell(user: User, template: str, provider: str) -> None:
    context: dict[str, Any] = {"name": user.get_short_name(), "provider": NAMES[provider]}
    send_email(to=user.email, template=template, context=context, org_id=None)


def identities_of(user: User) -> dict[str, OAuthIdentity]:
    """The accounts that sign a person in, by provider."""
    return {identity.provider: identity for identity in OAuthIdentity.objects.filter(user=user)}
