"""`/orgs/{id}/projects`, `/projects/{id}` and its keys; settings and policy are in ``settings_api``."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit.services import record_read
from apps.core.api import StrictSerializer
from apps.core.api.fields import name_field, page_of
from apps.core.etags import etag
from apps.core.pagination import paginate
from apps.core.stepup import require_fresh
from apps.core.tenancy import require_org_id
from apps.projects import selectors, services
from apps.projects.access import OfProject, OfProjects
from apps.projects.contracts import SCOPES, ApiKeyInfo
from apps.projects.networks import MAX_NETWORKS

__all__ = ["KeyDetail", "KeyList", "KeyRotate", "ProjectDetail", "ProjectList", "ProjectUnarchive"]


IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="The ETag of what you read; 412 where it has changed since."
)


class NewProjectSerializer(StrictSerializer):
    name = name_field()
    team_id = serializers.UUIDField(required=False, allow_null=True, default=None)


class ProjectChangesSerializer(StrictSerializer):
    name = name_field(required=False)
    team_id = serializers.UUIDField(required=False, allow_null=True)


class ProjectSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    org_id = serializers.UUIDField()
    name = serializers.CharField()
    slug = serializers.CharField()
    team_id = serializers.UUIDField(allow_null=True)
    archived_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


_OWNER = "Whose usage it is where events name nobody. None: a service account, a key without a person."
_LIMIT = "None: the default limit. 0: no limit."
_NETWORKS = "Networks (CIDR) or addresses from which it may be used. Empty: from everywhere."


def _networks(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=50),
        max_length=MAX_NETWORKS,
        required=False,
        help_text=_NETWORKS,
        **kwargs,
    )


def _limit(**kwargs: Any) -> serializers.IntegerField:
    return serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=2_000_000_000, help_text=_LIMIT, **kwargs
    )


class NewKeySerializer(StrictSerializer):
    name = name_field()
    scopes = serializers.ListField(child=serializers.ChoiceField(SCOPES), min_length=1, max_length=len(SCOPES))
    owner_id = serializers.UUIDField(required=False, allow_null=True, default=None, help_text=_OWNER)
    team_id = serializers.UUIDField(required=False, allow_null=True, default=None)
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, default=None,
        help_text="None: never, or as late as the organisation's key policy allows.",
    )  # fmt: skip
    rate_limit_per_minute = _limit(default=None)
    environment = serializers.CharField(
        required=False, allow_blank=True, max_length=40, default="", help_text="One of the project's; empty: none."
    )
    allowed_ips = _networks(default=list)


class KeyChangesSerializer(StrictSerializer):
    name = name_field(required=False)
    owner_id = serializers.UUIDField(required=False, allow_null=True, help_text=_OWNER)
    team_id = serializers.UUIDField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Earlier than before, never later."
    )
    rate_limit_per_minute = _limit()
    environment = serializers.CharField(required=False, allow_blank=True, max_length=40)
    allowed_ips = _networks()


class RotationSerializer(StrictSerializer):
    overlap_seconds = serializers.IntegerField(
        required=False, min_value=0, max_value=int(services.MAX_OVERLAP.total_seconds()),
        default=int(services.ROTATION_OVERLAP.total_seconds()),
        help_text="How long the old key goes on working.",
    )  # fmt: skip


class KeySerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    project_id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The beginning of the key, to recognise it by.")
    scopes = serializers.ListField(child=serializers.CharField())
    owner_id = serializers.UUIDField(allow_null=True)
    team_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    rate_limit_per_minute = serializers.IntegerField(allow_null=True)
    environment = serializers.CharField()
    allowed_ips = serializers.ListField(child=serializers.CharField())
    last_used_ip = serializers.IPAddressField(allow_null=True)
    last_used_agent = serializers.CharField(help_text="The user agent of the last use.")
    is_service_account = serializers.BooleanField()
    state = serializers.CharField(help_text="`works`, `revoked` or `expired`.")
    created_by_id = serializers.UUIDField(allow_null=True)
    replaced_by_id = serializers.UUIDField(allow_null=True, help_text="The key that replaced it.")
    leaked_at = serializers.DateTimeField(allow_null=True, help_text="When it was reported as leaked.")


class NewKeyAnswerSerializer(KeySerializer):
    key = serializers.CharField(help_text="The key itself: shown here and never again.")


class ProjectList(OfProjects):
    capabilities = {"GET": "project.read", "POST": "project.manage"}
    scopes = {"GET": "read"}

    @extend_schema(
        tags=["Projects"], responses={200: page_of(ProjectSerializer, "ProjectPage")},
        parameters=[OpenApiParameter("archived", bool, description="`true` adds the archived ones.")],
    )  # fmt: skip
    def get(self, request: Request, org_id: UUID) -> Response:
        """The projects of an organisation; whoever may not see all sees those that they were given rights on."""
        rows = selectors.project_list(org_id, archived=request.query_params.get("archived") == "true")
        if self.granted is not None:
            rows = rows.filter(pk__in=self.granted)
        page = paginate(rows, request.query_params, order=("created_at", "id"))
        return Response(page.body(lambda row: ProjectSerializer(row).data))

    @extend_schema(tags=["Projects"], request=NewProjectSerializer, responses={201: ProjectSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Make a project."""
        project = services.create_project(org_id=org_id, **self.valid(NewProjectSerializer))
        return Response(ProjectSerializer(project).data, status=201)


class ProjectDetail(OfProject):
    capabilities = {"GET": "project.read", "PATCH": "project.manage", "DELETE": "project.manage"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Projects"], responses={200: ProjectSerializer})
    def get(self, request: Request, project_id: UUID) -> Response:
        """A project."""
        project = selectors.project_get(org_id=require_org_id(), project_id=project_id)
        return Response(ProjectSerializer(project).data)

    @extend_schema(tags=["Projects"], request=ProjectChangesSerializer, responses={200: ProjectSerializer})
    def patch(self, request: Request, project_id: UUID) -> Response:
        """Change a project; usage counted so far keeps its team."""
        project = services.update_project(
            org_id=require_org_id(), project_id=project_id, changes=self.valid(ProjectChangesSerializer)
        )
        return Response(ProjectSerializer(project).data)

    @extend_schema(tags=["Projects"], responses={204: OpenApiResponse(description="Archived")})
    def delete(self, request: Request, project_id: UUID) -> Response:
        """Archive a project: its keys stop working, its usage stays."""
        services.archive_project(org_id=require_org_id(), project_id=project_id)
        return Response(status=204)


class ProjectUnarchive(OfProject):
    capabilities = {"POST": "project.manage"}

    @extend_schema(tags=["Projects"], request=None, responses={200: ProjectSerializer})
    def post(self, request: Request, project_id: UUID) -> Response:
        """Take a project out of the archive: its keys that still live work again."""
        project = services.unarchive_project(org_id=require_org_id(), project_id=project_id)
        return Response(ProjectSerializer(project).data)


class KeyList(OfProject):
    capabilities = {"GET": "key.read", "POST": "key.manage"}

    @extend_schema(tags=["Keys"], responses={200: page_of(KeySerializer, "KeyPage")})
    def get(self, request: Request, project_id: UUID) -> Response:
        """The keys of a project, revoked ones too."""
        rows = selectors.key_list(org_id=require_org_id(), project_id=project_id)
        page = paginate(rows, request.query_params)
        record_read(what="API keys", org_id=self.org_id)
        return Response(page.body(lambda row: KeySerializer(selectors.key_info(row)).data))

    @extend_schema(tags=["Keys"], request=NewKeySerializer, responses={201: NewKeyAnswerSerializer})
    def post(self, request: Request, project_id: UUID) -> Response:
        """Make a key; it is shown in this answer and never again. One that acts for others wants a fresh credential."""
        body = self.valid(NewKeySerializer)
        if "admin" in body["scopes"]:
            require_fresh(self.actor)
        made = services.create_api_key(org_id=require_org_id(), project_id=project_id, by_user_id=self.actor.id, **body)
        return _shown_once(*made)


class KeyDetail(OfProject):
    capabilities = {"GET": "key.read", "PATCH": "key.manage", "DELETE": "key.manage"}

    @extend_schema(tags=["Keys"], responses={200: KeySerializer})
    def get(self, request: Request, project_id: UUID, key_id: UUID) -> Response:
        """A key; its ETag names this version of it."""
        return _shown(selectors.key_get(org_id=require_org_id(), project_id=project_id, key_id=key_id))

    @extend_schema(tags=["Keys"], request=KeyChangesSerializer, responses={200: KeySerializer}, parameters=[IF_MATCH])
    def patch(self, request: Request, project_id: UUID, key_id: UUID) -> Response:
        """Change a key; every process obeys within a second. What it may do is not changed: make another."""
        key = services.update_api_key(
            org_id=require_org_id(),
            project_id=project_id,
            key_id=key_id,
            changes=self.valid(KeyChangesSerializer),
            if_match=request.headers.get("If-Match"),
            by_user_id=self.actor.id,
        )
        return _shown(key)

    @extend_schema(tags=["Keys"], responses={204: OpenApiResponse(description="Revoked")})
    def delete(self, request: Request, project_id: UUID, key_id: UUID) -> Response:
        """Revoke a key: dead everywhere within a second."""
        services.revoke_api_key(org_id=require_org_id(), project_id=project_id, key_id=key_id, by_user_id=self.actor.id)
        return Response(status=204)


class KeyRotate(OfProject):
    capabilities = {"POST": "key.manage"}

    @extend_schema(tags=["Keys"], request=RotationSerializer, responses={201: NewKeyAnswerSerializer})
    def post(self, request: Request, project_id: UUID, key_id: UUID) -> Response:
        """Replace a key; the old one goes on working for the overlap."""
        overlap = timedelta(seconds=self.valid(RotationSerializer)["overlap_seconds"])
        if "admin" in selectors.key_get(org_id=require_org_id(), project_id=project_id, key_id=key_id).scopes:
            require_fresh(self.actor)
        made = services.rotate_api_key(
            org_id=require_org_id(), project_id=project_id, key_id=key_id, overlap=overlap, by_user_id=self.actor.id
        )
        return _shown_once(*made)


def _shown(key: ApiKeyInfo) -> Response:
    return Response(KeySerializer(key).data, headers={"ETag": etag(key.version)})


def _shown_once(key: ApiKeyInfo, token: str) -> Response:
    return Response({**KeySerializer(key).data, "key": token}, status=201)
