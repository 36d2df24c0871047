"""`/orgs/{id}/roles`: the built-in roles, those that the organisation made, and the permissions they are made of."""

from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import selectors, services
from apps.accounts.contracts import RoleInfo
from apps.accounts.permissions import OWNER_ONLY, PERMISSIONS
from apps.core.api import ApiView, StrictSerializer

__all__ = ["PermissionList", "RoleDetail", "RoleList"]


def _capabilities(*, required: bool = True) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=40), min_length=1, max_length=100,
        help_text="Names of permissions; `GET /orgs/{id}/permissions` lists them.", required=required,
    )  # fmt: skip


class NewRoleSerializer(StrictSerializer):
    name = serializers.CharField(max_length=60)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True, default="")
    capabilities = _capabilities()


class RoleChangesSerializer(StrictSerializer):
    name = serializers.CharField(max_length=60, required=False)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    capabilities = _capabilities(required=False)


class RoleSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField(allow_null=True, help_text="Null: a built-in role.")
    role = serializers.CharField(source="key", help_text="The word that members, invitations and groups name it by.")
    name = serializers.CharField()
    description = serializers.CharField()
    built_in = serializers.BooleanField()
    capabilities = serializers.SerializerMethodField()
    members = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField(allow_null=True)
    updated_at = serializers.DateTimeField(allow_null=True)

    def get_capabilities(self, role: RoleInfo) -> list[str]:
        return [each.name for each in PERMISSIONS if each.name in role.capabilities]

    def get_members(self, role: RoleInfo) -> int:
        """How many members hold it."""
        held: dict[str, int] = self.context["holders"]
        return held.get(role.key, 0)


class RoleListSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = RoleSerializer(many=True)  # type: ignore[assignment]


class PermissionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    name = serializers.CharField()
    group = serializers.CharField()
    description = serializers.CharField(help_text="What its holder may do, as the end of “May …”.")
    owners_only = serializers.BooleanField(help_text="Never part of a role that an organisation makes.")


class PermissionListSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = PermissionSerializer(many=True)  # type: ignore[assignment]


class PermissionList(ApiView):
    capabilities = {"GET": "member.read"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Roles"], responses={200: PermissionListSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The named permissions that roles are made of; all of them at once."""
        rows = [
            {
                "name": each.name,
                "group": each.group,
                "description": each.words,
                "owners_only": each.name in OWNER_ONLY,
            }
            for each in PERMISSIONS
        ]
        return Response({"data": rows})


class RoleList(ApiView):
    capabilities = {"GET": "member.read", "POST": "role.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Roles"], responses={200: RoleListSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The roles of an organisation, built-in ones first; all of them at once, at most 55."""
        return Response({"data": _answers(org_id)})

    @extend_schema(tags=["Roles"], request=NewRoleSerializer, responses={201: RoleSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Make a role out of permissions that the caller holds."""
        role = services.create_role(org_id=org_id, by_user_id=self.actor.id, **self.valid(NewRoleSerializer))
        return Response(_answer(role, org_id), status=201)


class RoleDetail(ApiView):
    capabilities = {"GET": "member.read", "PATCH": "role.manage", "DELETE": "role.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Roles"], responses={200: RoleSerializer})
    def get(self, request: Request, org_id: UUID, role_id: UUID) -> Response:
        """A role that the organisation has made."""
        return Response(_answer(selectors.role_get(org_id=org_id, role_id=role_id), org_id))

    @extend_schema(tags=["Roles"], request=RoleChangesSerializer, responses={200: RoleSerializer})
    def patch(self, request: Request, org_id: UUID, role_id: UUID) -> Response:
        """Change a role; whoever holds it may do what it says at once."""
        changes = self.valid(RoleChangesSerializer)
        role = services.update_role(org_id=org_id, role_id=role_id, changes=changes, by_user_id=self.actor.id)
        return Response(_answer(role, org_id))

    @extend_schema(
        tags=["Roles"], responses={204: OpenApiResponse(description="Deleted")},
        parameters=[OpenApiParameter("replacement", str, description="The role that its holders get in its place.")],
    )  # fmt: skip
    def delete(self, request: Request, org_id: UUID, role_id: UUID) -> Response:
        """Delete a role; one that is in use needs a `replacement`."""
        replacement = request.query_params.get("replacement") or None
        services.delete_role(org_id=org_id, role_id=role_id, replacement=replacement, by_user_id=self.actor.id)
        return Response(status=204)


def _answers(org_id: UUID) -> list[dict[str, object]]:
    context = {"holders": selectors.role_holders(org_id)}
    return list(RoleSerializer(selectors.roles_of_org(org_id), many=True, context=context).data)


def _answer(role: RoleInfo, org_id: UUID) -> dict[str, object]:
    return dict(RoleSerializer(role, context={"holders": selectors.role_holders(org_id)}).data)
