"""`/teams/{id}/grants`: what single people may do with one team beside what their roles give."""

from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.grants_api import GrantListSerializer, GrantSerializer, NewGrantSerializer
from apps.core.tenancy import require_org_id
from apps.teams import grants, services
from apps.teams.access import OfTeam

__all__ = ["TeamGrant", "TeamGrants"]


class TeamGrants(OfTeam):
    capabilities = {"GET": "team.manage"}

    @extend_schema(tags=["Teams"], responses={200: GrantListSerializer})
    def get(self, request: Request, team_id: UUID) -> Response:
        """Who was given rights on a team; all of them at once, at most 200."""
        rows = grants.team_grants(org_id=require_org_id(), team_id=team_id)
        return Response({"data": GrantSerializer(rows, many=True).data})


class TeamGrant(OfTeam):
    capabilities = {"PUT": "team.manage", "DELETE": "team.manage"}

    @extend_schema(tags=["Teams"], request=NewGrantSerializer, responses={200: GrantSerializer})
    def put(self, request: Request, team_id: UUID, user_id: UUID) -> Response:
        """Say what a member may do with a team; it replaces what they were given before."""
        given = services.give_team_access(
            org_id=require_org_id(), team_id=team_id, user_id=user_id, by_user_id=self.actor.id,
            **self.valid(NewGrantSerializer),
        )  # fmt: skip
        return Response(GrantSerializer(given).data)

    @extend_schema(tags=["Teams"], responses={204: OpenApiResponse(description="Taken away")})
    def delete(self, request: Request, team_id: UUID, user_id: UUID) -> Response:
        """Take away all that a member was given on a team."""
        services.end_team_access(org_id=require_org_id(), team_id=team_id, user_id=user_id, by_user_id=self.actor.id)
        return Response(status=204)
