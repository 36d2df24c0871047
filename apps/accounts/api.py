"""`/orgs…`: organisations and their members."""

from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import selectors, services
from apps.accounts.models import Membership, Organization, ReviewEvery
from apps.core import errors
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import name_field, page_of
from apps.core.pagination import paginate
from apps.core.ratelimit import Limit, enforce, give_back
from apps.core.stepup import require_fresh
from apps.identity import selectors as identity

__all__ = ["MemberDetail", "MemberList", "OrgDetail", "OrgList"]


_LOOK_UPS = Limit("member-look-ups", 20, 3600)


class NewOrgSerializer(StrictSerializer):
    name = name_field()
    slug = serializers.SlugField(max_length=60, required=False)
    timezone = serializers.CharField(max_length=64, required=False, default="UTC")


class OrgChangesSerializer(StrictSerializer):
    name = name_field(required=False)
    slug = serializers.SlugField(max_length=60, required=False)
    timezone = serializers.CharField(max_length=64, required=False)
    raw_retention_days = serializers.IntegerField(min_value=1, max_value=400, required=False)
    requires_mfa = serializers.BooleanField(required=False, help_text="Wants a credential shown lately (step-up).")
    access_review_every = serializers.ChoiceField(ReviewEvery.choices, required=False)


class OrgSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    slug = serializers.CharField()
    timezone = serializers.CharField()
    status = serializers.CharField()
    plan = serializers.CharField()
    raw_retention_days = serializers.IntegerField()
    requires_mfa = serializers.BooleanField()
    access_review_every = serializers.ChoiceField(ReviewEvery.choices)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


def role_field() -> serializers.CharField:
    """A role by its word; which there are, `GET /orgs/{id}/roles` says."""
    return serializers.CharField(
        max_length=60, help_text="`owner`, `admin`, `billing`, `developer`, `viewer`, or the key of an own role."
    )


class NewMemberSerializer(StrictSerializer):
    email = serializers.EmailField(max_length=254)
    role = role_field()


class RoleSerializer(StrictSerializer):
    role = role_field()


class MemberSerializer(serializers.Serializer):  # type: ignore[type-arg]
    user_id = serializers.UUIDField()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    role = role_field()
    is_active = serializers.BooleanField(source="user.is_active", help_text="False: their account is closed.")
    joined_at = serializers.DateTimeField(source="created_at")


class OrgList(ApiView):
    capabilities = {"GET": None, "POST": None}
    org_required = False

    @extend_schema(tags=["Organisations"], responses={200: page_of(OrgSerializer, "OrgPage")})
    def get(self, request: Request) -> Response:
        """The organisations of the caller."""
        page = paginate(selectors.org_list(self._user_id()), request.query_params, order=("created_at", "id"))
        return Response(page.body(_org))

    @extend_schema(tags=["Organisations"], request=NewOrgSerializer, responses={201: OrgSerializer})
    def post(self, request: Request) -> Response:
        """Make an organisation; the caller becomes its owner."""
        data = self.valid(NewOrgSerializer)
        org = services.create_organization(owner_id=self._user_id(), **data)
        return Response(OrgSerializer(org).data, status=201)

    def _user_id(self) -> UUID:
        if self.actor.id is None:
            raise errors.NotAuthenticated()
        return self.actor.id


class OrgDetail(ApiView):
    capabilities = {"GET": "org.read", "PATCH": "org.update", "DELETE": "org.delete"}
    scopes = {"GET": "read"}
    step_up = frozenset({"DELETE"})

    @extend_schema(tags=["Organisations"], responses={200: OrgSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """An organisation."""
        return Response(OrgSerializer(selectors.org_get(org_id)).data)

    @extend_schema(tags=["Organisations"], request=OrgChangesSerializer, responses={200: OrgSerializer})
    def patch(self, request: Request, org_id: UUID) -> Response:
        """Change an organisation."""
        changes = self.valid(OrgChangesSerializer)
        if "requires_mfa" in changes:
            require_fresh(self.actor)
        changed = services.update_organization(org_id=org_id, changes=changes)
        return Response(OrgSerializer(changed).data)

    @extend_schema(tags=["Organisations"], responses={204: OpenApiResponse(description="Deleted")})
    def delete(self, request: Request, org_id: UUID) -> Response:
        """Delete an organisation: nobody can enter it any more and its keys stop working. An owner can restore it for
        some days; then it is erased."""
        services.delete_organization(org_id=org_id)
        return Response(status=204)


class MemberList(ApiView):
    capabilities = {"GET": "member.read", "POST": "member.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Members"], responses={200: page_of(MemberSerializer, "MemberPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The members of an organisation."""
        page = paginate(selectors.member_list(org_id), request.query_params, order=("created_at", "id"))
        return Response(page.body(_member))

    @extend_schema(tags=["Members"], request=NewMemberSerializer, responses={201: MemberSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Add somebody who has registered already; anybody else is invited (`/orgs/{id}/invitations`)."""
        data = self.valid(NewMemberSerializer)
        # Whoever guesses addresses learns of few: what finds nobody counts, what finds somebody is given back.
        guesser = str(self.actor.id)
        enforce(_LOOK_UPS, guesser, detail="Too many addresses that nobody has; invite them instead")
        person = identity.user_by_email(data["email"])
        if person is None:
            raise errors.ValidationFailed(
                "Nobody has registered with this address",
                errors=[{"pointer": "/email", "detail": "They have to register first"}],
            )
        give_back(_LOOK_UPS, guesser)
        services.add_member(org_id=org_id, user_id=person.id, role=data["role"], by_user_id=self.actor.id)
        return Response(_member(selectors.member_list(org_id).get(user_id=person.id)), status=201)


class MemberDetail(ApiView):
    capabilities = {"PATCH": "member.manage", "DELETE": ""}

    @extend_schema(tags=["Members"], request=RoleSerializer, responses={200: MemberSerializer})
    def patch(self, request: Request, org_id: UUID, user_id: UUID) -> Response:
        """Give a member another role."""
        services.change_member_role(
            org_id=org_id, user_id=user_id, by_user_id=self.actor.id, **self.valid(RoleSerializer)
        )
        return Response(_member(selectors.member_list(org_id).get(user_id=user_id)))

    @extend_schema(
        tags=["Members"],
        parameters=[OpenApiParameter("keys_to", OpenApiTypes.UUID, description="Who takes their keys over.")],
        responses={204: OpenApiResponse(description="Removed")},
    )
    def delete(self, request: Request, org_id: UUID, user_id: UUID) -> Response:
        """Remove a member; anybody may leave. Their keys end, or become those of the member named by `keys_to`."""
        if user_id != self.actor.id:
            self.require("member.manage")
        services.remove_member(
            org_id=org_id, user_id=user_id, by_user_id=self.actor.id, keys_to=_uuid(request.query_params.get("keys_to"))
        )
        return Response(status=204)


def _uuid(text: str | None) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise errors.ValidationFailed(
            "keys_to is not an id", errors=[{"pointer": "keys_to", "detail": "a UUID"}]
        ) from error


def _org(row: Organization) -> dict[str, object]:
    return dict(OrgSerializer(selectors.org_info(row)).data)


def _member(row: Membership) -> dict[str, object]:
    return dict(MemberSerializer(row).data)
