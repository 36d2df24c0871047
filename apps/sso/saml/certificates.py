"""Certificates of providers, and the key pair of our side."""

import base64
import binascii
import re
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from apps.core.clock import now
from apps.core.errors import FieldError, ValidationFailed

__all__ = ["certificate_facts", "checked_certificates", "new_key_pair"]

_MOST = 6
_YEARS = timedelta(days=3650)


def new_key_pair() -> tuple[str, str]:
    """A new RSA key and its self-signed certificate, both PEM; providers know it by our metadata, not by its signer."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "MindWeave single sign-on")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(days=1))
        .not_valid_after(now() + _YEARS)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()


def checked_certificates(texts: list[str]) -> list[str]:
    """The certificates in one spelling (base64 of DER), each once; :class:`ValidationFailed` names a broken one.

    They are pinned: what counts is the key in them, so one past its date goes on until it is replaced here.
    """
    errors: list[FieldError] = []
    found: list[str] = []
    for index, text in enumerate(texts):
        body = re.sub(r"-----[A-Z ]+-----|\s", "", text)
        try:
            der = base64.b64decode(body, validate=True)
            key = x509.load_der_x509_certificate(der).public_key()
        except (ValueError, binascii.Error):
            errors.append({"pointer": f"/idp_certificates/{index}", "detail": "This is not an X.509 certificate"})
            continue
        if (isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048) or isinstance(key, ec.EllipticCurvePublicKey):
            found.append(base64.b64encode(der).decode())
        else:
            detail = "Its key is too weak: RSA of 2048 bits or more, or an elliptic curve"
            errors.append({"pointer": f"/idp_certificates/{index}", "detail": detail})
    if len(found) > _MOST:
        errors.append({"pointer": "/idp_certificates", "detail": f"{_MOST} at most"})
    if errors:
        raise ValidationFailed("The certificates are not valid", errors=errors)
    return list(dict.fromkeys(found))


def certificate_facts(body: str) -> dict[str, object]:
    """What a page shows of a kept certificate: whose it is, until when, and its SHA-256 fingerprint."""
    certificate = x509.load_der_x509_certificate(base64.b64decode(body))
    fingerprint = certificate.fingerprint(hashes.SHA256()).hex(" ", 4)
    return {
        "subject": certificate.subject.rfc4514_string(),
        "until": certificate.not_valid_after_utc,
        "ended": certificate.not_valid_after_utc < now(),
        "fingerprint": fingerprint,
    }
