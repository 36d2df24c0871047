"""Using a code of a second factor, once."""

from allauth.mfa import app_settings
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.utils import decrypt
from django.db import transaction

from apps.core.clock import now
from apps.core.crypto import constant_time_equal

__all__ = ["totp_step", "use_code"]

# One step back for slow typing, one ahead for a phone whose clock runs fast (RFC 6238, section 5.2).
_STEPS = (0, -1, 1)


def totp_step(secret: str, code: str) -> int | None:
    """The time step whose TOTP code this is, of the present one and its neighbours; None where it is none of theirs."""
    present = int(now().timestamp()) // int(app_settings.TOTP_PERIOD)
    for step in (present + offset for offset in _STEPS):
        if constant_time_equal(format_hotp_value(hotp_value(secret, step)), code.strip()):
            return step
    return None


def use_code(authenticator_id: int, code: str) -> bool:
    """Whether ``code`` is right and unused; it is used up by asking.

    Of a TOTP factor the step of the last code is kept in its row, and none up to it is taken again: of two requests
    with the same code one is told that it is used, and neither needs a cache for it.
    """
    with transaction.atomic():
        factor = Authenticator.objects.select_for_update().get(pk=authenticator_id)
        if factor.type == Authenticator.Type.WEBAUTHN:
            return False  # it signs, and has no codes
        if factor.type != Authenticator.Type.TOTP:
            return bool(factor.wrap().validate_code(code.strip()))
        step = totp_step(decrypt(factor.data["secret"]), code)
        if step is None or step <= factor.data.get("last_step", -1):
            return False
        factor.data["last_step"], factor.last_used_at = step, now()
        factor.save(update_fields=["data", "last_used_at"])
        return True
