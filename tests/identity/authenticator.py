"""A security key in software: it makes credentials and signs as WebAuthn says, and can be told to misbehave."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from fido2 import cbor
from fido2.cose import ES256
from fido2.utils import websafe_decode, websafe_encode

__all__ = ["Key"]

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40


@dataclass
class Key:
    """One authenticator with one credential; it verifies its person unless told otherwise."""

    verifies: bool = True
    origin: str = field(default_factory=lambda: settings.PUBLIC_URL)
    counts: bool = True
    counter: int = 0
    id: bytes = field(default_factory=lambda: os.urandom(32))
    private: Any = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    handle: bytes = b""

    def _authenticator_data(self, rp_id: str, attested: bytes = b"") -> bytes:
        flags = _PRESENT | (_VERIFIED if self.verifies else 0) | (_ATTESTED if attested else 0)
        self.counter += self.counts
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.counter.to_bytes(4, "big") + attested

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin}).encode()

    def _shape(self, response: dict[str, bytes]) -> dict[str, Any]:
        return {
            "id": websafe_encode(self.id), "rawId": websafe_encode(self.id), "type": "public-key",
            "response": {name: websafe_encode(value) for name, value in response.items()},
            "clientExtensionResults": {},
        }  # fmt: skip

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """What ``navigator.credentials.create`` gives."""
        self.handle = websafe_decode(options["user"]["id"])
        public = cbor.encode(ES256.from_cryptography_key(self.private.public_key()))
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        data = self._authenticator_data(options["rp"]["id"], attested)
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        shape = self._shape(
            {"clientDataJSON": self._client_data("webauthn.create", options), "attestationObject": attestation}
        )
        shape["response"]["transports"] = ["usb"]
        return shape

    def get(self, options: dict[str, Any], *, rp_id: str = "") -> dict[str, Any]:
        """What ``navigator.credentials.get`` gives."""
        client = self._client_data("webauthn.get", options)
        data = self._authenticator_data(rp_id or options["rpId"])
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._shape(
            {"clientDataJSON": client, "authenticatorData": data, "signature": signature, "userHandle": self.handle}
        )
