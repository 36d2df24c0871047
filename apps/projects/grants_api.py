"""`/projects/{id}/grants`: what single people and teams may do with one project beside what their roles give."""

from uuid import UUID

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.grants_api import GrantListSerializer, GrantSerializer, NewGrantSerializer
from apps.core.tenancy import require_org_id
from apps.projects import grants, services
from apps.projects.access import OfProject

__all__ = ["ProjectGrant", "ProjectGrants"]


class ProjectGrants(OfProject):
    capabilities = {"GET": "project.manage"}

    @extend_schema(tags=["Projects"], responses={200: GrantListSerializer})
    def get(self, request: Request, project_id: UUID) -> Response:
        """Who was given rights on a project; all of them at once, at most 200."""
        rows = grants.project_grants(org_id=require_org_id(), project_id=project_id)
        return Response({"data": GrantSerializer(rows, many=True).data})


class ProjectGrant(OfProject):
    capabilities = {"PUT": "project.manage", "DELETE": "project.manage"}

    @extend_schema(tags=["Projects"], request=NewGrantSerializer, responses={200: GrantSerializer})
    def put(self, request: Request, project_id: UUID, grantee_id: UUID) -> Response:
        """Say what a member or a team may do with a project; it replaces what they were given before."""
        given = services.give_project_access(
            org_id=require_org_id(), project_id=project_id, grantee_id=grantee_id, by_user_id=self.actor.id,
            **self.valid(NewGrantSerializer),
        )  # fmt: skip
        return Response(GrantSerializer(given).data)

    @extend_schema(tags=["Projects"], responses={204: OpenApiResponse(description="Taken away")})
    def delete(self, request: Request, project_id: UUID, grantee_id: UUID) -> Response:
        """Take away all that a member or a team was given on a project."""
        services.end_project_access(
            org_id=require_org_id(), project_id=project_id, grantee_id=grantee_id, by_user_id=self.actor.id
        )
        return Response(status=204)
