"""Second factors. allauth owns them all; their secrets are encrypted under the rotating field keys."""

import base64
from dataclasses import dataclass

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.db import transaction

from apps.audit.services import record
from apps.core.crypto import decrypt, encrypt
from apps.core.errors import Conflict, ValidationFailed
from apps.events.services import publish
from apps.identity.factors import totp_step
from apps.identity.models import FactorDevice, User

__all__ = ["Enrolment", "MfaAdapter", "device_of", "disable_totp", "enable_totp", "new_enrolment"]


class MfaAdapter(DefaultMFAAdapter):
    """Keeps allauth's secrets encrypted and names us in authenticator apps."""

    def encrypt(self, text: str) -> str:
        return base64.b64encode(encrypt(text.encode())).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return decrypt(base64.b64decode(encrypted_text)).decode()

    def get_totp_issuer(self) -> str:
        return str(settings.MFA_TOTP_ISSUER)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator app needs: the secret (base32), its ``otpauth:`` address, and that as a QR code in SVG."""

    secret: str
    uri: str
    svg: str


def new_enrolment(user: User, *, secret: str | None = None) -> Enrolment:
    """A secret to enrol with; nothing is stored until a code proves it (:func:`enable_totp`)."""
    adapter = MfaAdapter()
    secret = secret or generate_totp_secret()
    uri = adapter.build_totp_url(user, secret)
    return Enrolment(secret=secret, uri=uri, svg=adapter.build_totp_svg(uri))


@transaction.atomic
def enable_totp(*, user: User, secret: str, code: str) -> list[str]:
    """Enrol a TOTP factor whose first ``code`` is right; returns the recovery codes, to be shown once."""
    User.objects.select_for_update().get(pk=user.pk)
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
        raise Conflict("A second factor is enrolled already", code="mfa_enabled")
    step = totp_step(secret, code)
    if step is None:
        raise ValidationFailed(
            "The code is not right",
            errors=[{"pointer": "/code", "detail": "Enter the code that your authenticator shows now"}],
        )
    factor = TOTP.activate(user, secret).instance
    factor.data["last_step"] = step
    factor.save(update_fields=["data"])
    FactorDevice.objects.create(user=user, name="Authenticator app", authenticator=factor)
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    record(
        action="user.mfa.enabled", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"type": "totp"},
    )  # fmt: skip
    publish(type="user.mfa.enabled", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "type": "totp"})
    return codes


@transaction.atomic
def disable_totp(*, user: User, reason: str) -> None:
    """Remove a person's second factors; for staff, where somebody lost theirs."""
    Authenticator.objects.filter(user=user).delete()
    record(
        action="user.mfa.disabled", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        reason=reason,
    )  # fmt: skip


def device_of(user: User) -> FactorDevice | None:
    """The person's factor as django-otp wants it, or None."""
    device: FactorDevice | None = FactorDevice.objects.filter(user=user, confirmed=True).first()
    return device
