"""``/orgs/{id}/sso/…``: single sign-on and provisioning over the API."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import name_field, page_of
from apps.core.errors import NotFound
from apps.core.pagination import paginate
from apps.sso import selectors, services
from apps.sso.models import ConnectionKind

__all__ = [
    "SsoBreakGlass",
    "SsoBreakGlassOwner",
    "SsoConnectionAct",
    "SsoConnectionDetail",
    "SsoConnectionList",
    "SsoDomainDetail",
    "SsoDomainList",
    "SsoDomainVerify",
    "SsoMappingDetail",
    "SsoMappingList",
    "SsoScimLog",
    "SsoScimTokenDetail",
    "SsoScimTokenList",
]

_MANAGE = "sso.manage"
_TAGS = ["Single sign-on"]
_OLDEST = ("created_at", "id")


class DomainNameSerializer(StrictSerializer):
    name = serializers.CharField(max_length=253)


class DomainSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    record = serializers.CharField(help_text="The name of the TXT record that proves it.")
    value = serializers.CharField(help_text="What the record holds.")
    verified_at = serializers.DateTimeField(allow_null=True)
    checked_at = serializers.DateTimeField(allow_null=True)
    failing_since = serializers.DateTimeField(allow_null=True)


class ConnectionChangesSerializer(StrictSerializer):
    name = name_field(required=False)
    creates_members = serializers.BooleanField(required=False)
    default_role = serializers.CharField(max_length=60, required=False)
    groups_claim = serializers.CharField(max_length=200, required=False, allow_blank=True)
    issuer = serializers.CharField(max_length=500, required=False, allow_blank=True)
    client_id = serializers.CharField(max_length=300, required=False, allow_blank=True)
    client_secret = serializers.CharField(max_length=500, required=False, allow_blank=True, write_only=True)
    scopes = serializers.CharField(max_length=300, required=False)
    idp_entity_id = serializers.CharField(max_length=500, required=False, allow_blank=True)
    idp_sso_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    idp_certificates = serializers.ListField(
        child=serializers.CharField(max_length=20_000), max_length=6, required=False
    )
    idp_metadata_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    subject_attribute = serializers.CharField(max_length=200, required=False, allow_blank=True)
    email_attribute = serializers.CharField(max_length=200, required=False, allow_blank=True)
    signs_requests = serializers.BooleanField(required=False)
    needs_auth_time = serializers.BooleanField(required=False)
    allows_unsolicited = serializers.BooleanField(required=False)


class NewConnectionSerializer(ConnectionChangesSerializer):
    name = name_field()
    kind = serializers.ChoiceField(ConnectionKind.choices)


class ConnectionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(ConnectionKind.choices)
    is_enabled = serializers.BooleanField()
    is_enforced = serializers.BooleanField()
    creates_members = serializers.BooleanField()
    default_role = serializers.CharField()
    tested_at = serializers.DateTimeField(allow_null=True)
    metadata_checked_at = serializers.DateTimeField(
        allow_null=True, help_text="When the provider's metadata were last fetched from `idp_metadata_url`."
    )
    metadata_failing_since = serializers.DateTimeField(allow_null=True)
    metadata_problem = serializers.CharField(help_text="Why the last fetch changed nothing; empty where it went well.")
    last_used_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    settings = serializers.DictField(help_text="What its kind is set by, without secrets, and our addresses for it.")


class OwnerSerializer(serializers.Serializer):  # type: ignore[type-arg]
    user_id = serializers.UUIDField()


class MappingSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField(source="pk")
    group = serializers.CharField()
    role = serializers.CharField(help_text="Empty: none.")
    team_id = serializers.UUIDField(allow_null=True)


class NewMappingSerializer(StrictSerializer):
    group = serializers.CharField(max_length=300)
    role = serializers.CharField(max_length=60, required=False, allow_blank=True, default="")
    team_id = serializers.UUIDField(required=False, allow_null=True, default=None)


class NewScimTokenSerializer(StrictSerializer):
    name = name_field()
    expires_at = serializers.DateTimeField(required=False, allow_null=True, default=None)


class ScimTokenSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    state = serializers.CharField(help_text="works, expired or revoked.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class MadeScimTokenSerializer(ScimTokenSerializer):
    token = serializers.CharField(help_text="Shown this once.")


class ScimRequestSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField(source="pk")
    at = serializers.DateTimeField()
    token_id = serializers.UUIDField()
    method = serializers.CharField()
    path = serializers.CharField()
    status = serializers.IntegerField()
    subject = serializers.CharField()
    detail = serializers.CharField()


# ---------------------------------------------------------------- what all of them have in common
class _List(ApiView):
    """Rows of an organisation, and one more: for whoever manages single sign-on, adding by a fresh credential."""

    capabilities = {"GET": _MANAGE, "POST": _MANAGE}
    step_up = frozenset({"POST"})

    def page(self, rows: QuerySet[Any], shown: Callable[[Any], Any], order: tuple[str, str] = _OLDEST) -> Response:
        """The page of ``rows`` that the request asks for."""
        return Response(paginate(rows, self.request.query_params, order=order).body(lambda row: shown(row).data))


class _Removable(ApiView):
    """What can be taken away by whoever manages single sign-on, by a fresh credential."""

    capabilities = {"DELETE": _MANAGE}
    step_up = frozenset({"DELETE"})


# ---------------------------------------------------------------- domains
class SsoDomainList(_List):
    @extend_schema(tags=_TAGS, responses={200: page_of(DomainSerializer, "DomainPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The domains of an organisation, proved or not."""
        return self.page(selectors.domain_list(org_id), lambda row: DomainSerializer(selectors.domain_info(row)))

    @extend_schema(tags=_TAGS, request=DomainNameSerializer, responses={201: DomainSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Name a domain; it counts once its record is found."""
        domain = services.add_domain(org_id=org_id, **self.valid(DomainNameSerializer))
        return Response(DomainSerializer(domain).data, status=201)


class SsoDomainDetail(_Removable):
    @extend_schema(tags=_TAGS, responses={204: OpenApiResponse(description="Removed")})
    def delete(self, request: Request, org_id: UUID, domain_id: UUID) -> Response:
        """Give a domain up."""
        services.remove_domain(org_id=org_id, domain_id=domain_id)
        return Response(status=204)


class SsoDomainVerify(ApiView):
    capabilities = {"POST": _MANAGE}
    step_up = frozenset({"POST"})

    @extend_schema(tags=_TAGS, request=None, responses={200: DomainSerializer})
    def post(self, request: Request, org_id: UUID, domain_id: UUID) -> Response:
        """Look for the record of a domain now."""
        return Response(DomainSerializer(services.verify_domain(org_id=org_id, domain_id=domain_id)).data)


# ---------------------------------------------------------------- connections
class SsoConnectionList(_List):
    @extend_schema(tags=_TAGS, responses={200: page_of(ConnectionSerializer, "ConnectionPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The connections of an organisation, without their secrets."""
        return self.page(
            selectors.connection_list(org_id), lambda row: ConnectionSerializer(selectors.connection_info(row))
        )

    @extend_schema(tags=_TAGS, request=NewConnectionSerializer, responses={201: ConnectionSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Make a connection, switched off."""
        values = self.valid(NewConnectionSerializer)
        made = services.create_connection(
            org_id=org_id, kind=values.pop("kind"), name=values.pop("name"), values=values
        )
        return Response(ConnectionSerializer(made).data, status=201)


class SsoConnectionDetail(ApiView):
    capabilities = {"GET": _MANAGE, "PATCH": _MANAGE, "DELETE": _MANAGE}
    step_up = frozenset({"PATCH", "DELETE"})

    @extend_schema(tags=_TAGS, responses={200: ConnectionSerializer})
    def get(self, request: Request, org_id: UUID, connection_id: UUID) -> Response:
        """A connection, without its secrets."""
        found = selectors.connection_get(org_id=org_id, connection_id=connection_id)
        return Response(ConnectionSerializer(selectors.connection_info(found)).data)

    @extend_schema(tags=_TAGS, request=ConnectionChangesSerializer, responses={200: ConnectionSerializer})
    def patch(self, request: Request, org_id: UUID, connection_id: UUID) -> Response:
        """Change a connection."""
        changes = self.valid(ConnectionChangesSerializer)
        changed = services.update_connection(org_id=org_id, connection_id=connection_id, changes=changes)
        return Response(ConnectionSerializer(changed).data)

    @extend_schema(tags=_TAGS, responses={204: OpenApiResponse(description="Deleted")})
    def delete(self, request: Request, org_id: UUID, connection_id: UUID) -> Response:
        """Delete a connection; its people keep their membership."""
        services.delete_connection(org_id=org_id, connection_id=connection_id)
        return Response(status=204)


_ACTS: dict[str, Any] = {
    "enable": services.enable_connection,
    "disable": services.disable_connection,
    "enforce": services.enforce_connection,
    "relax": services.relax_connection,
    "refresh": services.refresh_metadata,
}


class SsoConnectionAct(ApiView):
    capabilities = {"POST": _MANAGE}
    step_up = frozenset({"POST"})

    @extend_schema(tags=_TAGS, request=None, responses={200: ConnectionSerializer})
    def post(self, request: Request, org_id: UUID, connection_id: UUID, act: str) -> Response:
        """Enable, disable, enforce or relax a connection, or refresh it from its metadata's address."""
        if act not in _ACTS:
            raise NotFound()
        _ACTS[act](org_id=org_id, connection_id=connection_id)
        found = selectors.connection_get(org_id=org_id, connection_id=connection_id)
        return Response(ConnectionSerializer(selectors.connection_info(found)).data)


# ---------------------------------------------------------------- break-glass owners
class SsoBreakGlass(ApiView):
    capabilities = {"GET": _MANAGE}

    @extend_schema(tags=_TAGS, responses={200: page_of(OwnerSerializer, "BreakGlassPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """Who may sign in without the provider while a connection is enforced."""
        ids = sorted(selectors.break_glass_ids(org_id))
        return Response({"data": [{"user_id": str(one)} for one in ids], "next_cursor": None})


class SsoBreakGlassOwner(ApiView):
    capabilities = {"PUT": _MANAGE, "DELETE": _MANAGE}
    step_up = frozenset({"PUT", "DELETE"})

    @extend_schema(tags=_TAGS, request=None, responses={204: OpenApiResponse(description="They may")})
    def put(self, request: Request, org_id: UUID, user_id: UUID) -> Response:
        """Let an owner with a second factor sign in without the provider."""
        services.add_break_glass(org_id=org_id, user_id=user_id)
        return Response(status=204)

    @extend_schema(tags=_TAGS, responses={204: OpenApiResponse(description="They may not")})
    def delete(self, request: Request, org_id: UUID, user_id: UUID) -> Response:
        """Take an owner's exemption away."""
        services.remove_break_glass(org_id=org_id, user_id=user_id)
        return Response(status=204)


# ---------------------------------------------------------------- groups
class SsoMappingList(_List):
    @extend_schema(tags=_TAGS, responses={200: page_of(MappingSerializer, "MappingPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """What groups of the provider give."""
        return self.page(selectors.mapping_list(org_id), MappingSerializer)

    @extend_schema(tags=_TAGS, request=NewMappingSerializer, responses={201: MappingSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Have a group give a role, a place in a team, or both."""
        mapping_id = services.add_mapping(org_id=org_id, **self.valid(NewMappingSerializer))
        return Response(MappingSerializer(selectors.mapping_list(org_id).get(pk=mapping_id)).data, status=201)


class SsoMappingDetail(_Removable):
    @extend_schema(tags=_TAGS, responses={204: OpenApiResponse(description="Removed")})
    def delete(self, request: Request, org_id: UUID, mapping_id: UUID) -> Response:
        """Have a group give this no more."""
        services.remove_mapping(org_id=org_id, mapping_id=mapping_id)
        return Response(status=204)


# ---------------------------------------------------------------- provisioning
class SsoScimTokenList(_List):
    @extend_schema(tags=_TAGS, responses={200: page_of(ScimTokenSerializer, "ScimTokenPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The tokens of provisioning."""
        return self.page(selectors.scim_tokens(org_id), lambda row: ScimTokenSerializer(selectors.scim_token_info(row)))

    @extend_schema(tags=_TAGS, request=NewScimTokenSerializer, responses={201: MadeScimTokenSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Make a token of provisioning; it is in this answer only."""
        token, secret = services.create_scim_token(org_id=org_id, **self.valid(NewScimTokenSerializer))
        return Response({**ScimTokenSerializer(token).data, "token": secret}, status=201)


class SsoScimTokenDetail(_Removable):
    @extend_schema(tags=_TAGS, responses={204: OpenApiResponse(description="Revoked")})
    def delete(self, request: Request, org_id: UUID, token_id: UUID) -> Response:
        """Revoke a token of provisioning."""
        services.revoke_scim_token(org_id=org_id, token_id=token_id)
        return Response(status=204)


class SsoScimLog(_List):
    capabilities = {"GET": _MANAGE}
    step_up = frozenset()

    @extend_schema(tags=_TAGS, responses={200: page_of(ScimRequestSerializer, "ScimRequestPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """What provisioning asked in the last 30 days, oldest first."""
        return self.page(selectors.request_list(org_id), ScimRequestSerializer, order=("at", "id"))
