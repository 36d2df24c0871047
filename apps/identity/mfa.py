"""Second factors: enrolling, naming and removing them, and recovery codes.

allauth owns them all; their secrets are encrypted under the rotating field keys. What django-otp sees of each is its
:class:`~apps.identity.models.FactorDevice`. Security keys and passkeys are enrolled in :mod:`apps.identity.webauthn`.
"""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.db import transaction

from apps.audit.services import record
from apps.core.crypto import decrypt, encrypt
from apps.core.errors import Conflict, NotFound, PermissionDenied, ValidationFailed
from apps.events.services import publish
from apps.identity import challenges
from apps.identity.factors import totp_step
from apps.identity.models import FactorDevice, OAuthIdentity, User
from apps.identity.ports import factor_policy
from apps.notify.services import send_email

__all__ = ["Enrolment", "MfaAdapter", "begin_totp", "device_of", "disable_totp", "enable_totp", "finish_totp",
           "keep_factor", "new_enrolment", "new_recovery_codes", "remove_factor", "rename_factor"]  # fmt: skip

_TOTP = "enrol-totp"
NAME_LENGTH = 64


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


# ---------------------------------------------------------------- an authenticator app
def new_enrolment(user: User, *, secret: str | None = None) -> Enrolment:
    """A secret to enrol with; nothing is stored until a code proves it (:func:`enable_totp`)."""
    adapter = MfaAdapter()
    secret = secret or generate_totp_secret()
    uri = adapter.build_totp_url(user, secret)
    return Enrolment(secret=secret, uri=uri, svg=adapter.build_totp_svg(uri))


def begin_totp(*, user: User) -> tuple[str, Enrolment]:
    """A secret and the token that :func:`finish_totp` wants with its first code; Conflict where one is enrolled."""
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
        raise Conflict("An authenticator app is enrolled already", code="mfa_enabled")
    enrolment = new_enrolment(user)
    return challenges.begin(purpose=_TOTP, data={"secret": enrolment.secret}, user_id=user.pk), enrolment


def begun_totp(*, user: User, token: str) -> Enrolment | None:
    """The enrolment that a token began, to be shown again; None where it is too old or somebody else's."""
    begun = challenges.look(purpose=_TOTP, token=token)
    return new_enrolment(user, secret=begun.data["secret"]) if begun and begun.user_id == user.pk else None


@transaction.atomic
def finish_totp(*, user: User, token: str, code: str) -> list[str] | None:
    """Enrol the secret that ``token`` began, where ``code`` is its present one; a wrong code may be tried again."""
    begun = challenges.look(purpose=_TOTP, token=token)
    if begun is None or begun.user_id != user.pk:
        raise ValidationFailed(
            "This enrolment has ended",
            errors=[{"pointer": "/enrolment_token", "detail": "Begin again; a secret waits for five minutes"}],
        )
    codes = enable_totp(user=user, secret=begun.data["secret"], code=code)
    challenges.finish(purpose=_TOTP, token=token)
    return codes


@transaction.atomic
def enable_totp(*, user: User, secret: str, code: str) -> list[str]:
    """Enrol a TOTP factor whose first ``code`` is right; returns the recovery codes, to be shown once.

    Where another factor is enrolled already there are codes, which stay as they are: none are returned.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).exists():
        raise Conflict("An authenticator app is enrolled already", code="mfa_enabled")
    step = totp_step(secret, code)
    if step is None:
        raise ValidationFailed(
            "The code is not right",
            errors=[{"pointer": "/code", "detail": "Enter the code that your authenticator shows now"}],
        )
    factor = TOTP.activate(user, secret).instance
    factor.data["last_step"] = step
    factor.save(update_fields=["data"])
    device = FactorDevice(user=user, name="Authenticator app", authenticator=factor)
    return keep_factor(user=user, device=device, kind="totp")


def keep_factor(*, user: User, device: FactorDevice, kind: str) -> list[str]:
    """Keep a factor that was proved: entry, event, mail; the recovery codes where it is the first."""
    device.save(force_insert=True)
    codes: list[str] = []
    if not Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).exists():
        codes = RecoveryCodes.activate(user).get_unused_codes()
    record(
        action="user.mfa.enabled", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        after={"type": kind, "factor": str(device.public_id), "name": device.name},
    )  # fmt: skip
    publish(type="user.mfa.enabled", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "type": kind})
    _tell(user, "factor_added", factor=device.name, kind=kind)
    return codes


# ---------------------------------------------------------------- what is enrolled
def rename_factor(*, user: User, factor_id: UUID, name: str) -> None:
    """Call a factor something else; :class:`NotFound` where it is not this person's."""
    with transaction.atomic():
        device = _device(user, factor_id)
        before, device.name = device.name, _good_name(name)
        device.save(update_fields=["name"])
        factor = device.authenticator
        if factor.type == Authenticator.Type.WEBAUTHN:
            factor.data["name"] = device.name
            factor.save(update_fields=["data"])
        record(
            action="user.mfa.renamed", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
            before={"name": before}, after={"name": device.name},
        )  # fmt: skip


def _good_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > NAME_LENGTH:
        detail = f"Between 1 and {NAME_LENGTH} characters"
        raise ValidationFailed("The name is not valid", errors=[{"pointer": "/name", "detail": detail}])
    return name


def _device(user: User, factor_id: UUID) -> FactorDevice:
    """A factor of this person, with the person locked: of two who remove the last two factors one is refused."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    device: FactorDevice | None = (
        FactorDevice.objects.select_related("authenticator").filter(user=user, public_id=factor_id).first()
    )
    if device is None:
        raise NotFound()
    return device


@transaction.atomic
def remove_factor(*, user: User, factor_id: UUID) -> None:
    """Remove one factor; with the last one the recovery codes go too.

    :class:`PermissionDenied` where an organisation of theirs requires a second factor and this is the last, or where
    it is the last way in.
    """
    device = _device(user, factor_id)
    others = FactorDevice.objects.filter(user=user).exclude(pk=device.pk)
    is_last = not others.exists()
    if is_last and (org := factor_policy.get().required_by(user.pk)):
        raise PermissionDenied(
            f"{org} requires a second factor: add another one first, or leave the organisation",
            code="mfa_required_by_org",
        )
    if device.is_passkey and not _has_another_way_in(user, others):
        raise PermissionDenied("This passkey is your last way in: set a password first", code="last_way_in")
    kind, name = device.authenticator.type, device.name
    device.authenticator.delete()  # and the device with it
    if is_last:
        Authenticator.objects.filter(user=user).delete()
    _removed(user, kind=kind, name=name, reason="")


def _has_another_way_in(user: User, others: Any) -> bool:
    return bool(
        user.has_usable_password()
        or others.filter(is_passkey=True).exists()
        or OAuthIdentity.objects.filter(user=user).exists()
    )


def _removed(user: User, *, kind: str, name: str, reason: str) -> None:
    record(
        action="user.mfa.disabled", org_id=None, target_type="user", target_id=user.pk, target_label=user.email,
        before={"type": kind, "name": name}, reason=reason,
    )  # fmt: skip
    publish(type="user.mfa.disabled", org_id=None, user_id=user.pk, data={"user_id": str(user.pk), "type": kind})
    _tell(user, "factor_removed", factor=name, kind=kind)


@transaction.atomic
def disable_totp(*, user: User, reason: str) -> None:
    """Remove all of a person's second factors; for staff, where somebody lost theirs."""
    Authenticator.objects.filter(user=user).delete()
    _removed(user, kind="all", name="all second factors", reason=reason)


@transaction.atomic
def new_recovery_codes(*, user: User) -> list[str]:
    """Ten new recovery codes, to be shown once; the old ones stop working. Conflict without a second factor."""
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if not FactorDevice.objects.filter(user=user).exists():
        raise Conflict("Recovery codes come with a second factor; add one first", code="no_second_factor")
    Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).delete()
    codes: list[str] = RecoveryCodes.activate(user).get_unused_codes()
    record(
        action="user.mfa.recovery_codes", org_id=None, target_type="user", target_id=user.pk, target_label=user.email
    )
    _tell(user, "recovery_codes")
    return codes


def _tell(user: User, template: str, **context: Any) -> None:
    send_email(to=user.email, template=template, context={"name": user.get_short_name(), **context}, org_id=None)


def device_of(user: User) -> FactorDevice | None:
    """A factor of the person as django-otp wants it, or None."""
    device: FactorDevice | None = FactorDevice.objects.filter(user=user, confirmed=True).order_by("pk").first()
    return device
