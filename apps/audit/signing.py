"""Signatures under the chains: Ed25519 (RFC 8032), by keys of the trail's own."""

import base64
import json
import threading
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import connection, transaction

from apps.audit.models import SealingKey
from apps.core.crypto import rotate
from apps.core.ids import uuid7

__all__ = ["forget_signing_keys", "is_signed", "jwks", "make_signing_key", "rotate_private_keys", "sign", "statement"]

_CACHE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Signer:
    key_id: UUID
    private: Ed25519PrivateKey
    read_at: float


_signer: _Signer | None = None
_public: dict[UUID, Ed25519PublicKey] = {}
_lock = threading.Lock()


def statement(**members: Any) -> bytes:
    """What is signed: ``mindweave.audit.v1``, a line feed, and the members as canonical JSON (sorted, no spaces)."""
    text = json.dumps(members, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return b"mindweave.audit.v1\n" + text.encode()


def sign(message: bytes) -> tuple[UUID, bytes]:
    """The id of the signing key and its signature; the first key is made here."""
    signer = _current()
    return signer.key_id, signer.private.sign(message)


def is_signed(message: bytes, *, key_id: UUID, signature: bytes) -> bool:
    """Whether one of our keys, present or former, made this signature."""
    public = _public.get(key_id)
    if public is None:
        key = SealingKey.objects.defer("private_pem").filter(pk=key_id).first()
        if key is None:
            return False
        x = key.public_jwk["x"]
        raw = base64.urlsafe_b64decode(x + "=" * (-len(x) % 4))
        public = _public[key_id] = Ed25519PublicKey.from_public_bytes(raw)
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def jwks() -> dict[str, Any]:
    """All public keys (RFC 7517, RFC 8037), retired ones too: old checkpoints stay verifiable."""
    return {"keys": list(SealingKey.objects.values_list("public_jwk", flat=True))}


def make_signing_key() -> SealingKey:
    """Make and store a new pair; it signs from now on, within a minute in every process."""
    private = Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key_id = uuid7()
    key = SealingKey.objects.create(
        pk=key_id,
        private_pem=pem.decode(),
        public_jwk={
            "kty": "OKP",
            "crv": "Ed25519",
            "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(),
            "kid": str(key_id),
            "use": "sig",
            "alg": "EdDSA",
        },
    )
    forget_signing_keys()
    return key


def forget_signing_keys() -> None:
    """Read the signing key again on its next use."""
    global _signer
    _signer = None
    _public.clear()


def _current() -> _Signer:
    global _signer
    signer = _signer
    if signer is not None and time.monotonic() - signer.read_at < _CACHE_SECONDS:
        return signer
    with _lock, transaction.atomic():
        row = SealingKey.objects.filter(retired_at__isnull=True).first()
        if row is None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('audit.first_signing_key', 0))")
            row = SealingKey.objects.filter(retired_at__isnull=True).first() or make_signing_key()
        private = serialization.load_pem_private_key(row.private_pem.encode(), password=None)
        assert isinstance(private, Ed25519PrivateKey)
        _signer = _Signer(row.pk, private, time.monotonic())
    return _signer


def rotate_private_keys() -> int:
    """Reseal the private keys under the current field key; returns how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT id, private_pem FROM audit_signing_key ORDER BY id FOR UPDATE")
        rows = cursor.fetchall()
        cursor.executemany(
            "UPDATE audit_signing_key SET private_pem = %s WHERE id = %s",
            [(rotate(bytes(sealed)), key_id) for key_id, sealed in rows],
        )
    return len(rows)
