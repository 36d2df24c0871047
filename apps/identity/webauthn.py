"""WebAuthn (level 3): security keys as a second factor, passkeys as the only one.

A ceremony is begun, which gives a token and the options for ``navigator.credentials``, and finished once with the
token and what the browser answered. Rows are allauth's (``mfa.Authenticator`` of type ``webauthn``); the protocol is
fido2's, with the rules that are ours here: the origin is exactly that of ``MINDWEAVE_PUBLIC_URL``, attestation is not
asked for, a counter that does not grow is a copied authenticator (section 6.1.1), the user handle is the person's id
(section 14.6.1: nothing personal).
"""

import struct
from typing import Any, Literal
from urllib.parse import urlsplit

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import transaction
from fido2.cose import UnsupportedKey
from fido2.server import Fido2Server
from fido2.utils import websafe_decode
from fido2.webauthn import (
    AttestationConveyancePreference,
    AttestedCredentialData,
    AuthenticationResponse,
    AuthenticatorData,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, NotAuthenticated, ValidationFailed
from apps.identity import challenges
from apps.identity.mfa import NAME_LENGTH, keep_factor
from apps.identity.models import FactorDevice, User

__all__ = ["CredentialKind", "begin_passkey", "begin_proof", "begin_registration", "finish_passkey", "finish_proof",
           "finish_registration"]  # fmt: skip

CredentialKind = Literal["security_key", "passkey"]
_REGISTER, _PASSKEY, _PROOF = "webauthn-register", "webauthn-passkey", "webauthn-proof"
MAX_FACTORS = 20
# What a malformed answer of a browser makes fido2 and its parsers raise.
_MALFORMED: tuple[type[Exception], ...] = (
    ValueError, TypeError, KeyError, AttributeError, IndexError, AssertionError, struct.error,
)  # fmt: skip


def origin() -> str:
    """Where our pages are served from: the only origin whose ceremonies count."""
    parts = urlsplit(settings.PUBLIC_URL)
    return f"{parts.scheme}://{parts.netloc}"


def _server() -> Fido2Server:
    entity = PublicKeyCredentialRpEntity(name="MindWeave", id=urlsplit(settings.PUBLIC_URL).hostname or "")
    return Fido2Server(
        entity, attestation=AttestationConveyancePreference.NONE, verify_origin=lambda given: given == origin()
    )


def _answer(token: str, options: Any) -> dict[str, Any]:
    return {"challenge_token": token, "options": dict(options)["publicKey"]}


def _descriptors(user: User) -> list[PublicKeyCredentialDescriptor]:
    """The credentials of a person, with the ways their authenticators said they can be reached."""
    rows = FactorDevice.objects.filter(user=user, credential_id__isnull=False).select_related("authenticator")
    return [
        PublicKeyCredentialDescriptor(
            type=PublicKeyCredentialType.PUBLIC_KEY,
            id=bytes(row.credential_id or b""),
            transports=row.authenticator.data["credential"]["response"].get("transports") or None,
        )
        for row in rows
    ]


# ---------------------------------------------------------------- enrolling
def begin_registration(*, user: User, kind: CredentialKind) -> dict[str, Any]:
    """Options for ``navigator.credentials.create``; what is enrolled already is excluded.

    A passkey is discoverable and verifies its person; a security key need do neither.
    """
    if FactorDevice.objects.filter(user=user).count() >= MAX_FACTORS:
        raise Conflict(f"{MAX_FACTORS} factors are enrolled; remove one first", code="too_many_factors")
    passkey = kind == "passkey"
    entity = PublicKeyCredentialUserEntity(name=user.email, id=user.pk.bytes, display_name=user.get_full_name())
    options, state = _server().register_begin(
        entity,
        credentials=_descriptors(user),
        resident_key_requirement=ResidentKeyRequirement.REQUIRED if passkey else ResidentKeyRequirement.DISCOURAGED,
        user_verification=_verification(passkey),
        extensions={"credProps": True},
    )
    token = challenges.begin(purpose=_REGISTER, data={"state": state, "kind": kind}, user_id=user.pk)
    return _answer(token, options)


def _verification(required: bool) -> UserVerificationRequirement:
    return UserVerificationRequirement.REQUIRED if required else UserVerificationRequirement.DISCOURAGED


@transaction.atomic
def _register(user: User, kind: CredentialKind, name: str, state: Any, credential: dict[str, Any]) -> list[str]:
    bound = _server().register_complete(state, credential)
    found = bound.credential_data
    if found is None or isinstance(found.public_key, UnsupportedKey):
        raise ValueError("no credential, or of a kind whose signatures nobody here can check")
    if FactorDevice.objects.filter(credential_id=found.credential_id).exists():
        raise ValueError("this credential is enrolled already")
    data = {"name": name, "credential": credential, "sign_count": bound.counter}
    factor = Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
    device = FactorDevice(
        user=user, name=name, authenticator=factor, credential_id=found.credential_id, is_passkey=kind == "passkey"
    )
    return keep_factor(user=user, device=device, kind=kind)


def finish_registration(*, user: User, token: str, name: str, credential: dict[str, Any]) -> list[str]:
    """Enrol what the browser answered with; returns the recovery codes where it is the person's first factor.

    Raises :class:`ValidationFailed` for a ceremony that is over, another person's, or not what was asked for.
    """
    begun = challenges.finish(purpose=_REGISTER, token=token)
    if begun is None or begun.user_id != user.pk:
        raise ValidationFailed("This took too long, or was done already; begin again", code="challenge_ended")
    kind: CredentialKind = begun.data["kind"]
    name = " ".join(name.split())[:NAME_LENGTH] or ("Passkey" if kind == "passkey" else "Security key")
    try:
        return _register(user, kind, name, begun.data["state"], _plain(credential, _REGISTERED))
    except _MALFORMED as error:
        raise ValidationFailed("What the browser answered does not prove a new key", code="invalid_credential") from (
            error
        )


_REGISTERED = ("clientDataJSON", "attestationObject", "transports")
_ASSERTED = ("clientDataJSON", "authenticatorData", "signature", "userHandle")


def _plain(credential: dict[str, Any], members: tuple[str, ...]) -> dict[str, Any]:
    """Of what a browser sent, what the protocol knows; more would be kept for nothing."""
    response = {name: credential["response"][name] for name in members if credential["response"].get(name)}
    extensions = credential.get("clientExtensionResults") or {}
    return {
        "id": credential["rawId"],
        "rawId": credential["rawId"],
        "type": "public-key",
        "response": response,
        "clientExtensionResults": {name: extensions[name] for name in ("credProps",) if name in extensions},
    }


# ---------------------------------------------------------------- proving
def begin_passkey() -> dict[str, Any]:
    """Options for ``navigator.credentials.get`` of somebody not known yet: any passkey of theirs for us."""
    options, state = _server().authenticate_begin(user_verification=_verification(required=True))
    return _answer(challenges.begin(purpose=_PASSKEY, data={"state": state}), options)


def begin_proof(*, user: User) -> dict[str, Any]:
    """The same for a known person, with any of their keys; Conflict where they have none."""
    descriptors = _descriptors(user)
    if not descriptors:
        raise Conflict("No security key or passkey is enrolled", code="no_security_key")
    options, state = _server().authenticate_begin(descriptors, user_verification=_verification(required=False))
    return _answer(challenges.begin(purpose=_PROOF, data={"state": state}, user_id=user.pk), options)


def finish_passkey(*, token: str, credential: dict[str, Any]) -> User:
    """Whose passkey answered; :class:`NotAuthenticated` where none of ours did, or not as it must."""
    user: User = _prove(_PASSKEY, token, credential, None).user
    return user


def finish_proof(*, user: User, token: str, credential: dict[str, Any]) -> FactorDevice:
    """The factor of this person that answered; :class:`NotAuthenticated` otherwise."""
    return _prove(_PROOF, token, credential, user)


def _prove(purpose: str, token: str, credential: dict[str, Any], user: User | None) -> FactorDevice:
    refused = NotAuthenticated("This key was not accepted", code="invalid_credential")
    begun = challenges.finish(purpose=purpose, token=token)
    if begun is None or (user is not None and begun.user_id != user.pk):
        raise NotAuthenticated("This took too long, or was done already; try again", code="challenge_ended")
    try:
        plain = _plain(credential, _ASSERTED)
        with transaction.atomic():
            device = _answering(plain, user)
            is_copied = device is not None and not _count(device, begun.data["state"], plain)
    except _MALFORMED as error:
        raise refused from error
    if device is None or not device.user.is_active:
        raise refused
    if is_copied:
        # Outside the transaction of the check, so that the entry stays though the sign-in is refused.
        with transaction.atomic():
            record(
                action="user.login_refused", org_id=None, target_type="user", target_id=device.user_id,
                target_label=device.user.email, after={"factor": str(device.public_id)},
                reason="the counter of a security key did not grow: it may have been copied",
            )  # fmt: skip
        raise refused
    return device


def _answering(credential: dict[str, Any], user: User | None) -> FactorDevice | None:
    """The factor that a credential names, locked; of a known person only theirs, of an unknown one only a passkey."""
    rows = FactorDevice.objects.select_related("user", "authenticator").select_for_update(of=("self", "authenticator"))
    rows = rows.filter(credential_id=websafe_decode(credential["rawId"]))
    device: FactorDevice | None = (rows.filter(is_passkey=True) if user is None else rows.filter(user=user)).first()
    handle = credential["response"].get("userHandle")
    if device is not None and (handle or user is None) and websafe_decode(handle) != device.user_id.bytes:
        return None
    return device


def _count(device: FactorDevice, state: Any, credential: dict[str, Any]) -> bool:
    """Verify the signature (ValueError where it is not good) and take the counter; False where that did not grow."""
    factor = device.authenticator
    _server().authenticate_complete(state, [_attested(factor.data["credential"])], credential)
    answered: AuthenticatorData = AuthenticationResponse.from_dict(credential).response.authenticator_data
    kept = factor.data.get("sign_count", 0)
    if (kept or answered.counter) and answered.counter <= kept:
        return False
    factor.data["sign_count"], factor.last_used_at = answered.counter, now()
    factor.save(update_fields=["data", "last_used_at"])
    return True


def _attested(registered: dict[str, Any]) -> AttestedCredentialData:
    found = RegistrationResponse.from_dict(registered).response.attestation_object.auth_data.credential_data
    if found is None:
        raise ValueError("nothing was enrolled")
    return found
