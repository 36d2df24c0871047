"""`/orgs/{id}/views`."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.analytics import saved, services
from apps.analytics.page_state import LONGEST, PAGES, page_of
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import page_of as listed
from apps.core.errors import NotAuthenticated
from apps.core.pagination import paginate

__all__ = ["ViewDetail", "ViewList"]

_NAME_LENGTH = 80
_QUERY = "The page's query string, such as `period=28d&by=team`; periods stay relative."


class NewViewSerializer(StrictSerializer):
    page = serializers.ChoiceField(choices=list(PAGES))
    name = serializers.CharField(min_length=1, max_length=_NAME_LENGTH)
    query = serializers.CharField(max_length=LONGEST, allow_blank=True, default="", help_text=_QUERY)
    is_shared = serializers.BooleanField(default=False, help_text="Sharing takes `view.manage`.")
    is_default = serializers.BooleanField(default=False, help_text="For the caller alone.")


class ViewChangesSerializer(StrictSerializer):
    name = serializers.CharField(required=False, min_length=1, max_length=_NAME_LENGTH)
    query = serializers.CharField(required=False, max_length=LONGEST, allow_blank=True, help_text=_QUERY)
    is_shared = serializers.BooleanField(required=False)
    is_default = serializers.BooleanField(required=False)


class ViewSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    page = serializers.ChoiceField(choices=list(PAGES))
    name = serializers.CharField()
    query = serializers.CharField()
    is_shared = serializers.BooleanField()
    is_default = serializers.BooleanField(help_text="Whether the page opens with it for the caller.")
    owner_id = serializers.UUIDField(allow_null=True, help_text="Null once its owner has left.")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()


class _Views(ApiView):
    def person_id(self) -> UUID | None:
        """Who asks; None for an API key, which sees what is shared."""
        return self.actor.id if self.actor.kind == "user" else None

    def writer_id(self) -> UUID:
        person = self.person_id()
        if person is None:
            raise NotAuthenticated()
        return person


class ViewList(_Views):
    capabilities = {"GET": "view.save", "POST": "view.save"}
    scopes = {"GET": "read"}

    @extend_schema(
        tags=["Saved views"],
        parameters=[OpenApiParameter("page", str, enum=list(PAGES), description="Those of one page.")],
        responses={200: listed(ViewSerializer, "SavedViewPage")},
    )
    def get(self, request: Request, org_id: UUID) -> Response:
        """The saved views of the caller, and those that are shared with the organisation."""
        key = request.query_params.get("page", "")
        if key:
            page_of(key)
        rows = saved.view_rows(org_id=org_id, user_id=self.person_id(), page=key)
        page = paginate(rows, request.query_params, order=("created_at", "id"))
        return Response(page.body(lambda row: ViewSerializer(saved.view_info(row)).data))

    @extend_schema(tags=["Saved views"], request=NewViewSerializer, responses={201: ViewSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Save the state of a page under a name."""
        data: dict[str, Any] = self.valid(NewViewSerializer)
        view = services.create_view(org_id=org_id, user_id=self.writer_id(), **data)
        return Response(ViewSerializer(view).data, status=201)


class ViewDetail(_Views):
    capabilities = {"GET": "view.save", "PATCH": "view.save", "DELETE": "view.save"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Saved views"], responses={200: ViewSerializer})
    def get(self, request: Request, org_id: UUID, view_id: UUID) -> Response:
        """A saved view."""
        view = saved.view_get(org_id=org_id, user_id=self.person_id(), view_id=view_id)
        return Response(ViewSerializer(view).data)

    @extend_schema(tags=["Saved views"], request=ViewChangesSerializer, responses={200: ViewSerializer})
    def patch(self, request: Request, org_id: UUID, view_id: UUID) -> Response:
        """Change a saved view; somebody else's takes `view.manage`, all but `is_default`."""
        view = services.update_view(
            org_id=org_id, user_id=self.writer_id(), view_id=view_id, changes=self.valid(ViewChangesSerializer)
        )
        return Response(ViewSerializer(view).data)

    @extend_schema(tags=["Saved views"], responses={204: OpenApiResponse(description="Deleted")})
    def delete(self, request: Request, org_id: UUID, view_id: UUID) -> Response:
        """Delete a saved view; somebody else's takes `view.manage`."""
        services.delete_view(org_id=org_id, user_id=self.writer_id(), view_id=view_id)
        return Response(status=204)
