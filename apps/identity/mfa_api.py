"""`/auth/mfa/…`, `/auth/webauthn/…` and `/auth/step-up`: factors of the caller, and what is proved with them."""

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import errors
from apps.core.api import ApiView, StrictSerializer
from apps.core.authentication import client_ip
from apps.identity import mfa, proofs, selectors, services, stepup, webauthn
from apps.identity.api import PASSWORD_LENGTH, Public, TokensSerializer, signed_in, who

__all__ = ["FactorDetail", "FactorList", "MfaEnable", "MfaVerify", "MfaVerifyBegin", "PasskeyLogin",
           "PasskeyLoginBegin", "RecoveryCodes", "StepUp", "StepUpBegin", "WebauthnRegister",
           "WebauthnRegisterBegin"]  # fmt: skip

_TOKEN = 200


# ---------------------------------------------------------------- shapes
class CredentialField(serializers.JSONField):
    """What ``navigator.credentials`` answered, as ``PublicKeyCredential.toJSON()`` has it."""

    def to_internal_value(self, data: Any) -> Any:
        value = super().to_internal_value(data)
        if not isinstance(value, dict) or not isinstance(value.get("response"), dict):
            raise serializers.ValidationError("A credential as PublicKeyCredential.toJSON() gives it")
        return value


class ProofSerializer(StrictSerializer):
    challenge_token = serializers.CharField(max_length=_TOKEN)
    credential = CredentialField()


class CeremonySerializer(serializers.Serializer):  # type: ignore[type-arg]
    challenge_token = serializers.CharField()
    options = serializers.DictField(help_text="For `navigator.credentials`: WebAuthn's JSON form of its options.")


class VerifySerializer(StrictSerializer):
    mfa_token = serializers.CharField(max_length=2000)
    code = serializers.CharField(max_length=20, required=False)
    challenge_token = serializers.CharField(max_length=_TOKEN, required=False)
    credential = CredentialField(required=False)


class MfaTokenSerializer(StrictSerializer):
    mfa_token = serializers.CharField(max_length=2000)


class EnableSerializer(StrictSerializer):
    enrolment_token = serializers.CharField(max_length=_TOKEN, required=False)
    code = serializers.CharField(max_length=20, required=False)

    def validate(self, attrs: Any) -> Any:
        if ("code" in attrs) != ("enrolment_token" in attrs):
            raise serializers.ValidationError("Send both, the token and the first code, or neither to begin")
        return attrs


class EnrolmentSerializer(serializers.Serializer):  # type: ignore[type-arg]
    enrolment_token = serializers.CharField(help_text="Send it back with the first code, within five minutes.")
    secret = serializers.CharField(help_text="Base32.")
    otpauth_uri = serializers.CharField()
    qr_svg = serializers.CharField(help_text="The address as a QR code.")


class CodesSerializer(serializers.Serializer):  # type: ignore[type-arg]
    recovery_codes = serializers.ListField(
        child=serializers.CharField(), help_text="Shown once; empty where there are codes from an earlier factor."
    )


class FactorSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(["totp", "security_key", "passkey"])
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)


class FactorsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = FactorSerializer(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)
    recovery_codes_left = serializers.IntegerField()


class FactorNameSerializer(StrictSerializer):
    name = serializers.CharField(max_length=mfa.NAME_LENGTH)


class RegisterBeginSerializer(StrictSerializer):
    kind = serializers.ChoiceField(["security_key", "passkey"])


class RegisterKeySerializer(ProofSerializer):
    name = serializers.CharField(max_length=mfa.NAME_LENGTH, required=False, default="", allow_blank=True)


class StepUpSerializer(StrictSerializer):
    password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False, required=False)
    code = serializers.CharField(max_length=20, required=False)
    challenge_token = serializers.CharField(max_length=_TOKEN, required=False)
    credential = CredentialField(required=False)

    def validate(self, attrs: Any) -> Any:
        given = {"password", "code", "credential"} & set(attrs)
        if len(given) != 1 or ("credential" in attrs) != ("challenge_token" in attrs):
            raise serializers.ValidationError("Send a password, or a code, or a credential with its challenge_token")
        return attrs


class SteppedUpSerializer(serializers.Serializer):  # type: ignore[type-arg]
    authenticated_at = serializers.DateTimeField()
    max_age = serializers.IntegerField(help_text="For how many seconds from then it counts.")


# ---------------------------------------------------------------- signing in
class MfaVerify(Public):
    @extend_schema(tags=["Auth"], request=VerifySerializer, responses={200: TokensSerializer})
    def post(self, request: Request) -> Response:
        """Finish a sign-in with a second factor: a code, or a key's credential with its challenge."""
        given = self.valid(VerifySerializer)
        if "credential" in given and "challenge_token" in given and "code" not in given:
            return signed_in(request, proofs.verify_second_key(**given, **who(request)))
        if "code" not in given or len(given) != 2:
            problem: errors.FieldError = {"pointer": "/code", "detail": "A code, or challenge_token and credential"}
            raise errors.ValidationFailed("Some fields are not valid", errors=[problem])
        return signed_in(request, services.verify_second_factor(**given, **who(request)))


class MfaVerifyBegin(Public):
    @extend_schema(tags=["Auth"], request=MfaTokenSerializer, responses={200: CeremonySerializer})
    def post(self, request: Request) -> Response:
        """Options to ask for a security key as the second factor of a sign-in."""
        return Response(proofs.begin_second_factor(**self.valid(MfaTokenSerializer)))


class PasskeyLoginBegin(Public):
    @extend_schema(tags=["Auth"], request=None, responses={200: CeremonySerializer})
    def post(self, request: Request) -> Response:
        """Options to ask for a passkey, of whomever."""
        return Response(proofs.begin_passkey(ip=client_ip(request._request)))


class PasskeyLogin(Public):
    @extend_schema(tags=["Auth"], request=ProofSerializer, responses={200: TokensSerializer})
    def post(self, request: Request) -> Response:
        """Sign in with a passkey alone."""
        return signed_in(request, proofs.login_passkey(**self.valid(ProofSerializer), **who(request)))


# ---------------------------------------------------------------- the caller's own
class _Own(ApiView):
    """For the person who calls, about themselves; closed to keys. Secrets in answers are not kept to be replayed."""

    org_required = False
    idempotent = False

    @property
    def person(self) -> Any:
        user = self.request.user
        if self.actor.kind != "user" or user.pk is None:
            raise errors.NotAuthenticated()
        return user


class MfaEnable(_Own):
    capabilities = {"POST": None}
    step_up = frozenset({"POST"})

    @extend_schema(
        tags=["Auth"], request=EnableSerializer, responses={200: EnrolmentSerializer, 201: CodesSerializer},
        description="Without a body: begins, and answers 200 with a secret. With the token of that and the first code: "
        "enrols, and answers 201 with the recovery codes.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Enrol an authenticator app."""
        given = self.valid(EnableSerializer)
        if not given:
            token, enrolment = mfa.begin_totp(user=self.person)
            body = {
                "enrolment_token": token, "secret": enrolment.secret, "otpauth_uri": enrolment.uri,
                "qr_svg": enrolment.svg,
            }  # fmt: skip
            return Response(body)
        codes = mfa.finish_totp(user=self.person, token=given["enrolment_token"], code=given["code"])
        stepup.note_proof(request=request._request, actor=self.actor, user=self.person)
        return Response({"recovery_codes": codes}, status=201)


class FactorList(_Own):
    capabilities = {"GET": None}

    @extend_schema(tags=["Auth"], responses={200: FactorsSerializer})
    def get(self, request: Request) -> Response:
        """Your second factors."""
        body = {
            "data": selectors.factor_list(self.person.pk),
            "next_cursor": None,
            "recovery_codes_left": selectors.recovery_codes_left(self.person.pk),
        }
        return Response(FactorsSerializer(body).data)


class FactorDetail(_Own):
    capabilities = {"PATCH": None, "DELETE": None}
    step_up = frozenset({"DELETE"})

    @extend_schema(tags=["Auth"], request=FactorNameSerializer, responses={200: FactorSerializer})
    def patch(self, request: Request, factor_id: UUID) -> Response:
        """Call a second factor something else."""
        mfa.rename_factor(user=self.person, factor_id=factor_id, **self.valid(FactorNameSerializer))
        found = next(each for each in selectors.factor_list(self.person.pk) if each.id == factor_id)
        return Response(FactorSerializer(found).data)

    @extend_schema(tags=["Auth"], responses={204: OpenApiResponse(description="Removed")})
    def delete(self, request: Request, factor_id: UUID) -> HttpResponseBase:
        """Remove a second factor."""
        mfa.remove_factor(user=self.person, factor_id=factor_id)
        return Response(status=204)


class RecoveryCodes(_Own):
    capabilities = {"POST": None}
    step_up = frozenset({"POST"})

    @extend_schema(tags=["Auth"], request=None, responses={201: CodesSerializer})
    def post(self, request: Request) -> Response:
        """Make new recovery codes; the old ones stop working."""
        return Response({"recovery_codes": mfa.new_recovery_codes(user=self.person)}, status=201)


class WebauthnRegisterBegin(_Own):
    capabilities = {"POST": None}
    step_up = frozenset({"POST"})

    @extend_schema(tags=["Auth"], request=RegisterBeginSerializer, responses={200: CeremonySerializer})
    def post(self, request: Request) -> Response:
        """Options to make a security key's or passkey's credential for you."""
        return Response(webauthn.begin_registration(user=self.person, **self.valid(RegisterBeginSerializer)))


class WebauthnRegister(_Own):
    capabilities = {"POST": None}
    step_up = frozenset({"POST"})

    @extend_schema(tags=["Auth"], request=RegisterKeySerializer, responses={201: CodesSerializer})
    def post(self, request: Request) -> Response:
        """Enrol the credential that was made."""
        given = self.valid(RegisterKeySerializer)
        codes = webauthn.finish_registration(user=self.person, token=given.pop("challenge_token"), **given)
        stepup.note_proof(request=request._request, actor=self.actor, user=self.person)
        return Response({"recovery_codes": codes}, status=201)


class StepUpBegin(_Own):
    capabilities = {"POST": None}

    @extend_schema(tags=["Auth"], request=None, responses={200: CeremonySerializer})
    def post(self, request: Request) -> Response:
        """Options to ask for a security key or passkey of yours."""
        return Response(webauthn.begin_proof(user=self.person))


class StepUp(_Own):
    capabilities = {"POST": None}

    @extend_schema(
        tags=["Auth"], request=StepUpSerializer, responses={200: SteppedUpSerializer},
        description="After a 401 with `code: step_up_required` (RFC 9470): show a credential, then repeat the request.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Show a credential again in this sign-in."""
        given, user = self.valid(StepUpSerializer), self.person
        if "password" in given:
            method = stepup.show_password(user=user, password=given["password"], actor=self.actor)
        elif "code" in given:
            method = stepup.show_code(user=user, code=given["code"])
        else:
            method = stepup.show_key(user=user, token=given["challenge_token"], credential=given["credential"])
        moment = stepup.confirm(request=request._request, actor=self.actor, user=user, method=method)
        return Response(SteppedUpSerializer({"authenticated_at": moment, "max_age": stepup.max_age()}).data)
