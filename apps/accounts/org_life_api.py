"""`/orgs/{id}/restore`, `/transfer`, `/export`, `/default`, and the file of an export."""

from uuid import UUID

from django.http import FileResponse, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts import services
from apps.accounts.api import OrgSerializer
from apps.accounts.models import OrgExport
from apps.accounts.org_exports import latest_export
from apps.core import errors
from apps.core.api import ApiView, StrictSerializer

__all__ = ["OrgDefault", "OrgExportFile", "OrgExports", "OrgRestore", "OrgTransfer"]


class TransferSerializer(StrictSerializer):
    user_id = serializers.UUIDField()
    stay_owner = serializers.BooleanField(required=False, default=False, help_text="Else the caller becomes an admin.")


class OrgExportSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    state = serializers.ChoiceField(OrgExport.State.choices)
    tables_done = serializers.IntegerField()
    tables_total = serializers.IntegerField()
    rows = serializers.IntegerField()
    size_bytes = serializers.IntegerField()
    failure = serializers.CharField()
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    download_path = serializers.SerializerMethodField(help_text="For whoever asked for it, once it is ready.")

    def get_download_path(self, row: OrgExport) -> str | None:
        return f"/org-exports/{row.pk}" if row.state == OrgExport.State.READY else None


class _Own(ApiView):
    org_required = False

    def user_id(self) -> UUID:
        if self.actor.id is None:
            raise errors.NotAuthenticated()
        return self.actor.id


class OrgRestore(_Own):
    capabilities = {"POST": None}

    @extend_schema(tags=["Organisations"], request=None, responses={200: OrgSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Bring a deleted organisation back, within its grace; for its owners."""
        org = services.restore_organization(org_id=org_id, by_user_id=self.user_id())
        return Response(OrgSerializer(org).data)


class OrgTransfer(ApiView):
    capabilities = {"POST": "org.delete"}
    step_up = frozenset({"POST"})

    @extend_schema(
        tags=["Organisations"], request=TransferSerializer, responses={204: OpenApiResponse(description="Handed over")}
    )
    def post(self, request: Request, org_id: UUID) -> Response:
        """Hand the organisation to another owner; the caller becomes an admin, or stays an owner beside them."""
        data = self.valid(TransferSerializer)
        assert self.actor.id is not None
        services.transfer_ownership(
            org_id=org_id, to_user_id=data["user_id"], by_user_id=self.actor.id, stay_owner=data["stay_owner"]
        )
        return Response(status=204)


class OrgExports(ApiView):
    capabilities = {"GET": "org.delete", "POST": "org.delete"}
    step_up = frozenset({"POST"})

    @extend_schema(tags=["Organisations"], responses={200: OrgExportSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The latest export of the organisation, with its progress."""
        row = latest_export(org_id)
        if row is None:
            raise errors.NotFound("No export was asked for yet")
        return Response(OrgExportSerializer(row).data)

    @extend_schema(tags=["Organisations"], request=None, responses={202: OrgExportSerializer})
    def post(self, request: Request, org_id: UUID) -> Response:
        """Have all data put into a zip file of JSON lines; a mail tells when it is there."""
        assert self.actor.id is not None
        row = services.request_export(org_id=org_id, by_user_id=self.actor.id)
        return Response(OrgExportSerializer(row).data, status=202)


class OrgExportFile(_Own):
    capabilities = {"GET": None}

    @extend_schema(tags=["Organisations"], responses={(200, "application/zip"): OpenApiTypes.BINARY})
    def get(self, request: Request, export_id: UUID) -> HttpResponseBase:
        """The file of an export, for the owner who asked for it, until its time is over."""
        row, path = services.fetch_export(export_id=export_id, by_user_id=self.user_id())
        name = f"mindweave-export-{row.created_at:%Y-%m-%d}.zip"
        response = FileResponse(path.open("rb"), as_attachment=True, filename=name, content_type="application/zip")
        response.headers["Cache-Control"] = "no-store"
        return response


class OrgDefault(ApiView):
    capabilities = {"PUT": ""}

    @extend_schema(tags=["Organisations"], request=None, responses={204: OpenApiResponse(description="Chosen")})
    def put(self, request: Request, org_id: UUID) -> Response:
        """Mean this organisation whenever a request names none."""
        assert self.actor.id is not None
        services.choose_default_organization(user_id=self.actor.id, org_id=org_id)
        return Response(status=204)
