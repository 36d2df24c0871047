"""`/orgs/{id}/teams` and `/teams/{id}`."""

from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import StrictSerializer
from apps.core.api.fields import name_field, page_of
from apps.core.pagination import paginate
from apps.core.tenancy import require_org_id
from apps.teams import selectors, services
from apps.teams.access import OfTeam, OfTeams

__all__ = ["TeamDetail", "TeamList", "TeamMember"]


class NewTeamSerializer(StrictSerializer):
    name = name_field()
    parent_id = serializers.UUIDField(required=False, allow_null=True, default=None)


class TeamChangesSerializer(StrictSerializer):
    name = name_field(required=False)
    parent_id = serializers.UUIDField(required=False, allow_null=True)


class PlaceSerializer(StrictSerializer):
    is_primary = serializers.BooleanField(required=False, allow_null=True, default=None)


class TeamSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    name = serializers.CharField()
    slug = serializers.CharField()
    parent_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class TeamMemberSerializer(serializers.Serializer):  # type: ignore[type-arg]
    user_id = serializers.UUIDField()
    email = serializers.EmailField(source="user.email")
    name = serializers.CharField(source="user.name")
    is_primary = serializers.BooleanField()


class TeamWithMembersSerializer(TeamSerializer):
    members = TeamMemberSerializer(many=True)


class TeamList(OfTeams):
    capabilities = {"GET": "team.read", "POST": "team.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Teams"], responses={200: page_of(TeamSerializer, "TeamPage")})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The teams of an organisation; whoever may not see all sees those that they were given rights on."""
        rows = selectors.team_list(org_id)
        if self.granted is not None:
            rows = rows.filter(pk__in=self.granted)
        page = paginate(rows, request.query_params, order=("created_at", "id"))
        return Response(page.body(lambda row: TeamSerializer(row).data))

    @extend_schema(tags=["Teams"], request=NewTeamSerializer, responses={201: TeamSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Make a team."""
        team = services.create_team(org_id=org_id, **self.valid(NewTeamSerializer))
        return Response(TeamSerializer(team).data, status=201)


class TeamDetail(OfTeam):
    capabilities = {"GET": "team.read", "PATCH": "team.manage", "DELETE": "team.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Teams"], responses={200: TeamWithMembersSerializer})
    def get(self, request: Request, team_id: UUID) -> Response:
        """A team and who is in it."""
        org_id = require_org_id()
        team = selectors.team_get(org_id=org_id, team_id=team_id)
        members = selectors.team_members(org_id=org_id, team_id=team_id).order_by("created_at", "id")
        return Response({**TeamSerializer(team).data, "members": TeamMemberSerializer(members, many=True).data})

    @extend_schema(tags=["Teams"], request=TeamChangesSerializer, responses={200: TeamSerializer})
    def patch(self, request: Request, team_id: UUID) -> Response:
        """Change a team."""
        team = services.update_team(org_id=require_org_id(), team_id=team_id, changes=self.valid(TeamChangesSerializer))
        return Response(TeamSerializer(team).data)

    @extend_schema(tags=["Teams"], responses={204: OpenApiResponse(description="Deleted")})
    def delete(self, request: Request, team_id: UUID) -> Response:
        """Delete a team; usage counted for it keeps its id."""
        services.delete_team(org_id=require_org_id(), team_id=team_id)
        return Response(status=204)


class TeamMember(OfTeam):
    capabilities = {"PUT": "team.manage", "DELETE": "team.manage"}

    @extend_schema(tags=["Teams"], request=PlaceSerializer, responses={204: OpenApiResponse(description="In the team")})
    def put(self, request: Request, team_id: UUID, user_id: UUID) -> Response:
        """Put a member of the organisation into a team."""
        data = self.valid(PlaceSerializer)
        services.add_team_member(
            org_id=require_org_id(), team_id=team_id, user_id=user_id, by_user_id=self.actor.id, **data
        )
        return Response(status=204)

    @extend_schema(tags=["Teams"], responses={204: OpenApiResponse(description="Out of the team")})
    def delete(self, request: Request, team_id: UUID, user_id: UUID) -> Response:
        """Take a person out of a team."""
        services.remove_team_member(org_id=require_org_id(), team_id=team_id, user_id=user_id)
        return Response(status=204)
