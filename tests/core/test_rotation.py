"""Rotating the field keys: afterwards the old key may go."""

from collections.abc import Iterator

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.mfa.utils import decrypt as mfa_decrypt
from django.core.management import CommandError, call_command

from apps.audit.keys import forget_cached_keys
from apps.core.crypto import DecryptionError
from apps.core.database import connect
from apps.core.models import IdempotencyRecord
from apps.identity.models import SigningKey, User
from tests.cast import Api, Cast, make_person

OLD, NEW = "old-" + "o" * 40, "new-" + "n" * 40


@pytest.fixture(autouse=True)
def _only_what_these_tests_make(django_db_setup: None) -> Iterator[None]:
    forget_the_trails_keys()
    yield
    # Nor may later ones find what no key of theirs opens.
    forget_the_trails_keys()


def forget_the_trails_keys() -> None:
    """Keys of the trail are committed on a connection of their own, so that those of earlier tests are still here."""
    forget_cached_keys()
    with connect() as own:
        own.execute("DELETE FROM audit_key")


def test_what_was_made_under_the_old_key_is_read_under_the_new_one_alone(db: None, settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    keys = {SigningKey.objects.create(public_jwk={}, private_pem=f"pem {n}").pk: f"pem {n}" for n in range(3)}
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    call_command("rotate_field_keys")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert {key.pk: key.private_pem for key in SigningKey.objects.filter(pk__in=keys)} == keys


def test_answers_under_an_idempotency_key_are_rotated_too(cast: Cast, settings) -> None:
    forget_the_trails_keys()
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    path, body = f"/orgs/{cast.org.id}/teams", {"name": "Warp"}
    api = Api(cast.alice)
    first = api.post(path, body, Idempotency_Key="once")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    call_command("rotate_field_keys")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert api.post(path, body, Idempotency_Key="once").json() == first.json()
    assert IdempotencyRecord.objects.count() == 1


def test_second_factors_are_rotated_too(db: None, settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    user = User.objects.get(pk=make_person("alice").id)
    secret = generate_totp_secret()
    totp = TOTP.activate(user, secret).instance
    codes = RecoveryCodes.activate(user).get_unused_codes()
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    call_command("rotate_field_keys")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert mfa_decrypt(Authenticator.objects.get(pk=totp.pk).data["secret"]) == secret
    recovery = Authenticator.objects.get(user=user, type=Authenticator.Type.RECOVERY_CODES)
    assert recovery.wrap().get_unused_codes() == codes


def test_a_key_that_is_not_configured_is_said_and_nothing_is_lost(db: None, settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    row = SigningKey.objects.create(public_jwk={}, private_pem="pem")
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    with pytest.raises(CommandError, match="FIELD_ENCRYPTION_KEYS"):
        call_command("rotate_field_keys")
    with pytest.raises(DecryptionError):
        SigningKey.objects.get(pk=row.pk)
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    assert SigningKey.objects.get(pk=row.pk).private_pem == "pem"
