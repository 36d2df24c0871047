"""Secrets: hashed where they only have to be recognised, encrypted where they have to be read again.

Both under lists of keys that rotate: the first makes, all are tried. Without ``TOKEN_PEPPERS`` and
``FIELD_ENCRYPTION_KEYS`` they derive from ``SECRET_KEY`` and its fallbacks.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models

__all__ = [
    "DecryptionError",
    "EncryptedJSONField",
    "EncryptedTextField",
    "constant_time_equal",
    "decrypt",
    "encrypt",
    "new_token",
    "pepper_id",
    "pepper_ids",
    "rotate",
    "token_digest",
    "token_digests",
]


class DecryptionError(RuntimeError):
    """A stored secret was made under a key that is no longer configured."""


def new_token(bits: int = 256) -> str:
    """A random URL-safe token of at least ``bits`` bits."""
    return secrets.token_urlsafe((bits + 7) // 8)


def constant_time_equal(a: str | bytes, b: str | bytes) -> bool:
    """Equality whose time does not tell where two secrets differ."""
    left = a.encode() if isinstance(a, str) else a
    right = b.encode() if isinstance(b, str) else b
    return hmac.compare_digest(left, right)


# ---------------------------------------------------------------- hashing
def token_digest(token: str, purpose: str) -> bytes:
    """HMAC-SHA256 of a token under the current pepper; ``purpose`` keeps the digests of different things apart.

    A plain keyed hash is enough: tokens are random, so there is nothing to guess and nothing to slow down.
    """
    return _digest(token, purpose, _peppers()[0])


def token_digests(token: str, purpose: str) -> list[bytes]:
    """The digests under every configured pepper, the current one first: what a look-up has to try."""
    return [_digest(token, purpose, pepper) for pepper in _peppers()]


def pepper_id() -> str:
    """What names the current pepper beside a digest: 8 characters that tell nothing of it."""
    return pepper_ids()[0]


def pepper_ids() -> tuple[str, ...]:
    """The names of every configured pepper, the current one first."""
    return tuple(_digest("", "pepper-id", pepper).hex()[:8] for pepper in _peppers())


def _digest(token: str, purpose: str, pepper: bytes) -> bytes:
    return hmac.digest(pepper, purpose.encode() + b"\x00" + token.encode("utf-8", "surrogatepass"), "sha256")


def _peppers() -> tuple[bytes, ...]:
    return _derive_all(
        b"mindweave.pepper",
        tuple(settings.TOKEN_PEPPERS) or (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS),
    )


@lru_cache(maxsize=16)
def _derive_all(label: bytes, keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(hmac.digest(key.encode(), label, hashlib.sha256) for key in keys)


# ---------------------------------------------------------------- encryption
@lru_cache(maxsize=16)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    derived = _derive_all(b"mindweave.field", keys)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in derived])


def _current_fernet() -> MultiFernet:
    keys: Sequence[str] = settings.FIELD_ENCRYPTION_KEYS or (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return _fernet(tuple(keys))


def encrypt(plain: bytes) -> bytes:
    """Authenticated encryption (Fernet: AES-128-CBC, HMAC-SHA256) under the current key."""
    return _current_fernet().encrypt(plain)


def decrypt(sealed: bytes) -> bytes:
    """What :func:`encrypt` was given; :class:`DecryptionError` where no configured key fits."""
    try:
        return _current_fernet().decrypt(sealed)
    except InvalidToken as error:
        raise DecryptionError("no configured FIELD_ENCRYPTION_KEYS entry opens this value") from error


def rotate(sealed: bytes) -> bytes:
    """The same secret under the current key."""
    try:
        return _current_fernet().rotate(sealed)
    except InvalidToken as error:
        raise DecryptionError("no configured FIELD_ENCRYPTION_KEYS entry opens this value") from error


if TYPE_CHECKING:
    _BinaryField = models.BinaryField[Any, Any]
else:
    _BinaryField = models.BinaryField


class EncryptedTextField(_BinaryField):
    """Text that the database holds only encrypted; it cannot be searched or ordered by."""

    def get_prep_value(self, value: Any) -> Any:
        if value is None or isinstance(value, bytes | memoryview):
            return value
        return encrypt(self.to_bytes(value))

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else self.from_bytes(decrypt(bytes(value)))

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: models.Model) -> str:
        raise TypeError("an encrypted field is not serialised")

    @staticmethod
    def to_bytes(value: Any) -> bytes:
        return str(value).encode()

    @staticmethod
    def from_bytes(value: bytes) -> Any:
        return value.decode()


class EncryptedJSONField(EncryptedTextField):
    """A JSON value that the database holds only encrypted."""

    @staticmethod
    def to_bytes(value: Any) -> bytes:
        return orjson.dumps(value)

    @staticmethod
    def from_bytes(value: bytes) -> Any:
        return orjson.loads(value)
