"""Exports of the trail that a worker makes, over the API."""

from typing import Any
from uuid import UUID

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import selectors, services
from apps.audit.api import AuditFilterSerializer, wanted_of
from apps.audit.export import CONTENT_TYPES, file_response
from apps.audit.models import AuditExport
from apps.core.api import ApiView
from apps.core.api.fields import page_of
from apps.core.errors import NotFound
from apps.core.pagination import paginate
from apps.core.tenancy import require_org_id

__all__ = ["ExportDetail", "ExportFile", "ExportList"]


class NewExportSerializer(AuditFilterSerializer):
    format = serializers.ChoiceField(choices=sorted(CONTENT_TYPES), default="jsonl")


class AuditExportSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    format = serializers.ChoiceField(choices=sorted(CONTENT_TYPES))
    filter = serializers.DictField(source="wanted", child=serializers.CharField())
    state = serializers.ChoiceField(choices=AuditExport.State.choices)
    entries = serializers.IntegerField(help_text="Written so far.")
    total = serializers.IntegerField(allow_null=True, help_text="To be written; null before its worker has counted.")
    size_bytes = serializers.IntegerField(help_text="Of the compressed file.")
    failure = serializers.CharField(allow_blank=True)
    requested_by_id = serializers.UUIDField(allow_null=True)
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)


def _body(row: AuditExport) -> Any:
    return AuditExportSerializer(row).data


class ExportList(ApiView):
    capabilities = {"GET": "audit.read", "POST": "audit.read"}
    scopes = {"GET": "admin", "POST": "admin"}

    @extend_schema(tags=["Audit"], responses={200: page_of(AuditExportSerializer, "AuditExportPage")})
    def get(self, request: Request) -> Response:
        """The exports that workers made or are making, the latest first."""
        return Response(paginate(selectors.export_list(), request.query_params).body(_body))

    @extend_schema(tags=["Audit"], request=NewExportSerializer, responses={202: AuditExportSerializer})
    def post(self, request: Request) -> Response:
        """Have the trail put into a file by a worker, for what is too long for `GET /audit/export`. One at a time."""
        asked = self.valid(NewExportSerializer)
        row = services.request_export(org_id=require_org_id(), wanted=wanted_of(asked), form=asked["format"])
        return Response(_body(row), status=202)


class ExportDetail(ApiView):
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}

    @extend_schema(tags=["Audit"], operation_id="audit_exports_retrieve", responses={200: AuditExportSerializer})
    def get(self, request: Request, export_id: UUID) -> Response:
        """An export and how far it has come."""
        row = selectors.export_get(export_id)
        if row is None:
            raise NotFound
        return Response(_body(row))


class ExportFile(ApiView):
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}

    @extend_schema(tags=["Audit"], responses={(200, "application/gzip"): OpenApiTypes.BINARY})
    def get(self, request: Request, export_id: UUID) -> HttpResponseBase:
        """The file of an export, compressed (gzip), until its time is over. Each fetching is recorded."""
        return file_response(*services.fetch_export(org_id=require_org_id(), export_id=export_id))
