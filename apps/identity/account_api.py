"""`/auth/forgot`, `/auth/reset`, `/auth/verify-email`, `/auth/password`, `/auth/email` and `/auth/sessions`."""

from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import ApiView, StrictSerializer
from apps.core.authentication import client_ip
from apps.identity import known_devices, selectors, services
from apps.identity.api import PASSWORD_LENGTH, Public, own_id

__all__ = ["ChangeEmail", "ChangePassword", "Forgot", "Reset", "SessionDetail", "SessionList", "VerifyEmail",
           "VerifyEmailResend"]  # fmt: skip

# Where a token stands in the body, the answer goes to nobody else.
_PRIVATE = {"Referrer-Policy": "no-referrer"}
_ASKED = "Where there is such an account, a mail is on its way."


class AddressSerializer(StrictSerializer):
    email = serializers.CharField(max_length=254)


class TokenSerializer(StrictSerializer):
    token = serializers.CharField(max_length=200)


class ResetSerializer(TokenSerializer):
    password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)


class PasswordSerializer(StrictSerializer):
    current_password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)
    new_password = serializers.CharField(max_length=PASSWORD_LENGTH, trim_whitespace=False)


class AskedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    detail = serializers.CharField(help_text="The same whether there is such an account or not.")


class SessionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    kind = serializers.ChoiceField(["web", "api"])
    device = serializers.CharField(help_text="What the user agent says, in words; empty where it says nothing.")
    ip = serializers.IPAddressField(allow_null=True)
    country = serializers.CharField(help_text="ISO 3166 code; empty where it is not known.")
    methods = serializers.ListField(child=serializers.CharField(), help_text="What was shown in it.")
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(help_text="To the minute.")
    expires_at = serializers.DateTimeField()
    current = serializers.BooleanField(help_text="Whether it is the one that asks.")


class SessionsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = SessionSerializer(many=True)  # type: ignore[assignment]


class EndedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    ended = serializers.IntegerField()


# ---------------------------------------------------------------- open to anybody
def _proved(request: Request, email: str) -> Response:
    """The answer to who opened a link that only the owner of an address could read; a browser is known from now on."""
    response = Response(status=204, headers=_PRIVATE)
    if known_devices.is_browser(request._request):
        known_devices.know(request._request, email)
        known_devices.keep(request._request, response)
    return response


class Forgot(Public):
    @extend_schema(tags=["Auth"], request=AddressSerializer, responses={202: AskedSerializer})
    def post(self, request: Request) -> Response:
        """Have the link to a new password mailed."""
        services.ask_reset(**self.valid(AddressSerializer), ip=client_ip(request._request))
        return Response({"detail": _ASKED}, status=202)


class Reset(Public):
    @extend_schema(
        tags=["Auth"], request=ResetSerializer, responses={204: OpenApiResponse(description="The password is set")},
        description="Ends every sign-in of the person. The token is that of the mailed link; it works once.",
    )  # fmt: skip
    def post(self, request: Request) -> HttpResponseBase:
        """Set a new password by a mailed token."""
        return _proved(request, services.reset_password(**self.valid(ResetSerializer)))


class VerifyEmail(Public):
    @extend_schema(
        tags=["Auth"], request=TokenSerializer, responses={204: OpenApiResponse(description="The address is verified")}
    )
    def post(self, request: Request) -> HttpResponseBase:
        """Prove an address by a mailed token."""
        return _proved(request, services.verify_address(**self.valid(TokenSerializer)).email)


class VerifyEmailResend(Public):
    @extend_schema(tags=["Auth"], request=AddressSerializer, responses={202: AskedSerializer})
    def post(self, request: Request) -> Response:
        """Have the link that proves an address mailed again."""
        services.ask_verification(**self.valid(AddressSerializer), ip=client_ip(request._request))
        return Response({"detail": _ASKED}, status=202)


# ---------------------------------------------------------------- of the person who calls
class ChangePassword(ApiView):
    capabilities = {"POST": None}
    org_required = False
    idempotent = False

    @extend_schema(
        tags=["Auth"], request=PasswordSerializer, responses={204: OpenApiResponse(description="The password is set")},
        description="Ends every other sign-in of yours.",
    )  # fmt: skip
    def post(self, request: Request) -> HttpResponseBase:
        """Set a new password by the present one."""
        given = self.valid(PasswordSerializer)
        services.change_password(
            user_id=own_id(self), current=given["current_password"], new=given["new_password"], ip=self.actor.ip,
            keep=self.actor.session_id, request=request._request,
        )  # fmt: skip
        return Response(status=204)


class ChangeEmail(ApiView):
    capabilities = {"POST": None}
    step_up = frozenset({"POST"})
    org_required = False
    idempotent = False

    @extend_schema(
        tags=["Auth"], request=AddressSerializer, responses={202: AskedSerializer},
        description="Nothing changes until the link in the mail to the new address is opened; the old one is told.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Ask for another address."""
        services.ask_new_address(user_id=own_id(self), **self.valid(AddressSerializer))
        return Response({"detail": "Open the link in the mail to the new address."}, status=202)


class SessionList(ApiView):
    capabilities = {"GET": None, "DELETE": None}
    org_required = False

    @extend_schema(tags=["Auth"], responses={200: SessionsSerializer})
    def get(self, request: Request) -> Response:
        """Where you are signed in, last used first; at most 100."""
        rows = selectors.session_list(user_id=own_id(self), current=self.actor.session_id)
        return Response(SessionsSerializer({"data": rows}).data)

    @extend_schema(tags=["Auth"], responses={200: EndedSerializer})
    def delete(self, request: Request) -> Response:
        """End all your sign-ins but the one that asks."""
        ended = services.end_all_sessions(user_id=own_id(self), reason="ended_by_person", keep=self.actor.session_id)
        return Response({"ended": ended})


class SessionDetail(ApiView):
    capabilities = {"DELETE": None}
    org_required = False

    @extend_schema(tags=["Auth"], responses={204: OpenApiResponse(description="It has ended")})
    def delete(self, request: Request, session_id: UUID) -> HttpResponseBase:
        """End one of your sign-ins, at once on every process."""
        services.end_session(user_id=own_id(self), session_id=session_id)
        return Response(status=204)
