"""Secrets under rotating keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.crypto import DecryptionError, decrypt, encrypt, rotate, token_digest, token_digests
from apps.identity import jwt
from apps.identity.models import SigningKey

OLD, NEW = "o" * 40, "n" * 40


@given(st.binary(max_size=500))
def test_what_is_encrypted_comes_back(plain: bytes) -> None:
    assert decrypt(encrypt(plain)) == plain
    assert len(plain) < 4 or plain not in encrypt(plain)


def test_keys_rotate(settings) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [OLD]
    sealed = encrypt(b"secret")
    settings.FIELD_ENCRYPTION_KEYS = [NEW, OLD]
    assert decrypt(sealed) == b"secret"
    moved = rotate(sealed)
    settings.FIELD_ENCRYPTION_KEYS = [NEW]
    assert decrypt(moved) == b"secret"
    with pytest.raises(DecryptionError):
        decrypt(sealed)


def test_a_changed_byte_is_noticed() -> None:
    sealed = bytearray(encrypt(b"secret"))
    sealed[20] ^= 1
    with pytest.raises(DecryptionError):
        decrypt(bytes(sealed))


def test_peppers_rotate_and_purposes_are_apart(settings) -> None:
    settings.TOKEN_PEPPERS = [OLD]
    old = token_digest("t", "a")
    settings.TOKEN_PEPPERS = [NEW, OLD]
    assert token_digests("t", "a") == [token_digest("t", "a"), old]
    assert token_digest("t", "a") != old
    assert token_digest("t", "a") != token_digest("t", "b")


def test_a_field_is_unreadable_in_the_database(db: None) -> None:
    from django.db import connection

    key = jwt.make_key()
    with connection.cursor() as cursor:
        cursor.execute("SELECT private_pem FROM identity_signingkey WHERE id = %s", [key.pk])
        stored = bytes(cursor.fetchone()[0])
    assert b"PRIVATE KEY" not in stored
    assert "PRIVATE KEY" in SigningKey.objects.get(pk=key.pk).private_pem
