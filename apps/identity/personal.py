"""What identity keeps of a person."""

from typing import Any

from allauth.mfa.models import Authenticator

from apps.core.personal import ERASED_DOMAIN, PersonalData, Subject, listed, pseudonym, register_personal
from apps.identity.models import Challenge, FactorDevice, OAuthIdentity, RefreshToken, SignIn, User

__all__ = ["register"]

_PROFILE = ("id", "email", "name", "timezone", "is_staff", "is_active", "email_verified_at", "default_org_id",
            "date_joined", "last_login")  # fmt: skip
_SIGN_IN = ("id", "kind", "created_at", "last_used_at", "expires_at", "ended_at", "end_reason", "methods", "ip",
            "user_agent", "device", "country")  # fmt: skip
_FACTOR = ("public_id", "name", "is_passkey", "authenticator__created_at", "authenticator__last_used_at")
_PROVIDER = ("provider", "subject", "email", "created_at", "last_used_at")


def _export(subject: Subject) -> dict[str, Any]:
    """Secrets are not in it: neither the password's hash nor what a factor is made of."""
    person = subject.user_id
    return {
        "profile": listed(list(User.objects.filter(pk=person).values(*_PROFILE)))[0],
        "sign_ins": listed(list(SignIn.objects.filter(user_id=person).order_by("-created_at").values(*_SIGN_IN))),
        "factors": listed(list(FactorDevice.objects.filter(user_id=person).order_by("pk").values(*_FACTOR))),
        "sign_in_providers": listed(list(OAuthIdentity.objects.filter(user_id=person).values(*_PROVIDER))),
        "refresh_tokens": RefreshToken.objects.filter(family__user_id=person).count(),
        "begun": listed(list(Challenge.objects.filter(user_id=person).values("purpose", "expires_at"))),
    }


def _erase(subject: Subject) -> int:
    """The row itself stays under a pseudonym: ids in numbers and in the trail go on meaning one person."""
    person = subject.user_id
    gone = sum(
        rows.delete()[0]
        for rows in (
            Authenticator.objects.filter(user_id=person),
            OAuthIdentity.objects.filter(user_id=person),
            RefreshToken.objects.filter(family__user_id=person),
            Challenge.objects.filter(user_id=person),
        )
    )
    gone += SignIn.objects.filter(user_id=person).update(ip=None, user_agent="", device="", country="")
    user = User.objects.get(pk=person)
    user.groups.clear()
    user.user_permissions.clear()
    user.email, user.name = f"erased-{person}@{ERASED_DOMAIN}", pseudonym(person)
    user.is_active = user.is_staff = user.is_superuser = False
    user.email_verified_at = user.default_org_id = user.last_login = None
    user.timezone = ""
    user.set_unusable_password()
    user.save()
    return gone + 1


def register() -> None:
    """Make the share known: taken when what the others find by the person's row is gone."""
    register_personal(PersonalData("identity", "Account and sign-ins", _export, _erase, order=800))
