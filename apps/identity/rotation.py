"""The secrets of second factors under the current field key (``manage.py rotate_field_keys``)."""

import base64
from typing import Any

from allauth.mfa.models import Authenticator
from django.db import transaction

from apps.core.crypto import rotate
from apps.core.rotation import register_rotation

__all__ = ["rotate_factors"]

# What allauth keeps encrypted: of TOTP its secret, of recovery codes their seed or, of old, the codes themselves.
_SECRETS = ("secret", "seed", "migrated_codes")


def rotate_factors() -> int:
    """Reseal the secrets of every factor; each row is locked, since a code that is used is written there too."""
    done = 0
    for factor_id in Authenticator.objects.order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            factor = Authenticator.objects.select_for_update().filter(pk=factor_id).first()
            if factor is not None:
                factor.data |= {name: _sealed(factor.data[name]) for name in _SECRETS if factor.data.get(name)}
                factor.save(update_fields=["data"])
                done += 1
    return done


def _sealed(value: Any) -> Any:
    if isinstance(value, list):
        return [_sealed(part) for part in value]
    return base64.b64encode(rotate(base64.b64decode(value))).decode()


register_rotation("mfa_authenticator.data", rotate_factors)
