"""`/auth/…` and `/users/{id}`."""

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import errors, ports
from apps.core.api import ApiView, StrictSerializer
from apps.core.authentication import client_ip
from apps.identity import jwt, known_devices, selectors, services
from apps.identity.contracts import TokenPair

__all__ = [
    "Jwks",
    "Login",
    "Logout",
    "Me",
    "MeExport",
    "Public",
    "Refresh",
    "Register",
    "TokensSerializer",
    "UserDetail",
    "own_id",
    "signed_in",
    "who",
]

PASSWORD_LENGTH = 256


class CredentialsSerializer(StrictSerializer):
    email = serializers.CharField(max_length=254)
    password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)


class RegisterSerializer(CredentialsSerializer):
    name = serializers.CharField(max_length=150, required=False, allow_blank=True, default="")


class RefreshSerializer(StrictSerializer):
    refresh_token = serializers.CharField(max_length=200)


class TokensSerializer(serializers.Serializer):  # type: ignore[type-arg]
    access_token = serializers.CharField()
    refresh_token = serializers.CharField()
    token_type = serializers.ChoiceField(["Bearer"])
    expires_in = serializers.IntegerField(help_text="Seconds.")


class UserSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    email = serializers.EmailField()
    name = serializers.CharField()


class JwksSerializer(serializers.Serializer):  # type: ignore[type-arg]
    keys = serializers.ListField(child=serializers.DictField())


class MeSerializer(UserSerializer):
    email_verified = serializers.BooleanField()
    timezone = serializers.CharField(help_text="IANA name; empty: the organisation's.")
    default_org_id = serializers.UUIDField(allow_null=True)


class MeChangeSerializer(StrictSerializer):
    name = serializers.CharField(max_length=150, required=False)
    timezone = serializers.CharField(max_length=64, required=False, allow_blank=True)
    default_org_id = serializers.UUIDField(required=False, allow_null=True)


class PersonalPartSerializer(serializers.Serializer):  # type: ignore[type-arg]
    key = serializers.CharField(help_text="Which part of MindWeave keeps it.")
    title = serializers.CharField()
    data = serializers.JSONField()  # type: ignore[assignment]


class PersonalDataSerializer(serializers.Serializer):  # type: ignore[type-arg]
    user_id = serializers.UUIDField()
    exported_at = serializers.DateTimeField()
    parts = PersonalPartSerializer(many=True)


def own_id(view: ApiView) -> UUID:
    """The id of the person who calls."""
    if view.actor.id is None or view.actor.kind != "user":
        raise errors.NotAuthenticated()
    return view.actor.id


def who(request: Request) -> dict[str, Any]:
    """What a sign-in keeps of where it came from."""
    return {"ip": client_ip(request._request), "user_agent": request.headers.get("User-Agent", "")}


def signed_in(request: Request, pair: TokenPair) -> Response:
    """The answer to somebody who signed in; a browser is known from now on."""
    response = Response(services.as_body(pair))
    if known_devices.is_browser(request._request):
        user_id = jwt.verify_access_token(pair.access_token).user_id
        known_devices.know(request._request, selectors.user_get(user_id).email)
        known_devices.keep(request._request, response)
    return response


class Public(ApiView):
    """Open to anybody; what the body carries is the credential."""

    public = frozenset({"POST"})
    org_required = False
    idempotent = False
    # A stale header of the caller must not keep them from signing in.
    authentication_classes = ()


class Login(Public):
    @extend_schema(
        tags=["Auth"], request=CredentialsSerializer, responses={200: TokensSerializer},
        description="With a second factor enrolled the answer is 401 with `code: mfa_required`, an `mfa_token`, and "
        "which `factors` there are.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Sign in with e-mail address and password."""
        given = self.valid(CredentialsSerializer)
        device = known_devices.device_of(request._request, given["email"])
        pair = services.login(**given, **who(request), device=device)
        return signed_in(request, pair)


class Refresh(Public):
    @extend_schema(tags=["Auth"], request=RefreshSerializer, responses={200: TokensSerializer})
    def post(self, request: Request) -> Response:
        """Trade a refresh token for a new pair; a token used twice ends the sign-in."""
        return Response(services.as_body(services.refresh(**self.valid(RefreshSerializer))))


class Register(Public):
    @extend_schema(tags=["Auth"], request=RegisterSerializer, responses={201: UserSerializer})
    def post(self, request: Request) -> Response:
        """Register a person; an address that is registered already is answered alike, and its owner gets a mail."""
        user = services.sign_up(**self.valid(RegisterSerializer), ip=client_ip(request._request))
        return Response(UserSerializer(user).data, status=201)


class Logout(ApiView):
    capabilities = {"POST": None}
    org_required = False

    @extend_schema(tags=["Auth"], request=None, responses={204: OpenApiResponse(description="Signed out")})
    def post(self, request: Request) -> HttpResponseBase:
        """End this sign-in: its refresh tokens now, its access tokens within a second everywhere."""
        if hasattr(request._request, "sign_in"):
            services.logout_web(request=request._request)
        elif self.actor.session_id is not None:
            services.logout(session_id=self.actor.session_id)
        return Response(status=204)


class Me(ApiView):
    capabilities = {"GET": None, "PATCH": None, "DELETE": None}
    step_up = frozenset({"DELETE"})
    org_required = False

    @extend_schema(tags=["Auth"], responses={200: MeSerializer})
    def get(self, request: Request) -> Response:
        """Who is signed in."""
        return Response(MeSerializer(selectors.user_get(self._user_id())).data)

    @extend_schema(tags=["Auth"], request=MeChangeSerializer, responses={200: MeSerializer})
    def patch(self, request: Request) -> Response:
        """Change your name, time zone or default organisation."""
        changed = services.update_profile(user_id=self._user_id(), changes=self.valid(MeChangeSerializer))
        return Response(MeSerializer(changed).data)

    @extend_schema(
        tags=["Auth"], request=None, responses={204: OpenApiResponse(description="They are erased")},
        description="For good. 409 `last_owner` where an organisation would be left without an owner; nothing is done "
        "then.",
    )  # fmt: skip
    def delete(self, request: Request) -> HttpResponseBase:
        """Erase yourself: sign-ins, memberships and keys end, and what is left of you has no name."""
        services.erase_person(user_id=self._user_id(), reason="asked by the person")
        return Response(status=204)

    def _user_id(self) -> UUID:
        return own_id(self)


class MeExport(ApiView):
    capabilities = {"POST": None}
    step_up = frozenset({"POST"})
    org_required = False
    idempotent = False

    @extend_schema(tags=["Auth"], request=None, responses={200: PersonalDataSerializer})
    def post(self, request: Request) -> Response:
        """Everything that is kept of you, as a file; that you took it is in the audit trail."""
        found = services.export_person(user_id=own_id(self))
        return Response(found, headers={"Content-Disposition": 'attachment; filename="mindweave-personal-data.json"'})


class UserDetail(ApiView):
    capabilities = {"GET": "member.read"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Auth"], responses={200: UserSerializer})
    def get(self, request: Request, user_id: UUID) -> Response:
        """A person who shares the organisation with the caller."""
        from apps.core.contracts import Actor

        person = Actor(kind="user", id=user_id)
        if self.org_id is None or not ports.permissions.get().is_member(person, self.org_id):
            raise errors.NotFound()
        return Response(UserSerializer(selectors.user_get(user_id)).data)


class Jwks(ApiView):
    public = frozenset({"GET"})
    org_required = False
    authentication_classes = ()

    @extend_schema(tags=["Auth"], responses={200: JwksSerializer})
    def get(self, request: Request) -> Response:
        """The public keys that access tokens are verified by (RFC 7517)."""
        return Response(jwt.jwks(), headers={"Cache-Control": "public, max-age=60"})
