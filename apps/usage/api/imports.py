"""``/v1/imports``: files of usage events, taken in whole and counted in the background."""

from typing import Any
from uuid import UUID

from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core.api import ApiView
from apps.core.api.fields import PageSerializer, page_of
from apps.core.errors import ValidationFailed
from apps.core.pagination import paginate
from apps.core.tenancy import require_org_id
from apps.usage.api.search import page_parameters
from apps.usage.imports import selectors, services
from apps.usage.imports.engine import MAX_PROBLEMS
from apps.usage.imports.under import key_of_project
from apps.usage.imports.upload import FormFileHandler, receive
from apps.usage.models import Import, ImportProblem

__all__ = ["ImportCancel", "ImportDetail", "ImportErrors", "ImportList", "ImportResume"]

_TYPES = {"text/csv": "csv", "application/csv": "csv", "application/x-ndjson": "jsonl", "application/jsonl": "jsonl"}


class ImportErrorSerializer(serializers.Serializer):  # type: ignore[type-arg]
    line = serializers.IntegerField(help_text="From 1; of CSV, where its row begins.")
    event_id = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    detail = serializers.CharField()
    pointer = serializers.CharField(help_text="What in the event is wrong; empty: all of it.")


class _ProgressSerializer(serializers.Serializer):  # type: ignore[type-arg]
    percent = serializers.FloatField(help_text="Of the content, 0 to 100.")
    bytes_read = serializers.IntegerField(help_text="Of the content as it is when inflated.")
    bytes_total = serializers.IntegerField(allow_null=True, help_text="Null until it was read through once.")
    lines_read = serializers.IntegerField()


class ImportSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    state = serializers.ChoiceField(Import.State.choices)
    failure = serializers.CharField(allow_null=True, help_text="Why it failed, as a sentence.")
    resumable = serializers.BooleanField(help_text="Whether it failed, its file is here, and going on can help.")
    origin = serializers.ChoiceField(Import.Origin.choices)
    name = serializers.CharField()
    project_id = serializers.UUIDField()
    key_id = serializers.UUIDField(help_text="The key that its events count under.")
    format = serializers.ChoiceField(services.FORMATS, allow_null=True)
    compression = serializers.ChoiceField(["gzip", "zstd"], allow_null=True)
    size_bytes = serializers.IntegerField(help_text="Of the file as it came.")
    progress = _ProgressSerializer()
    accepted = serializers.IntegerField(help_text="Events that were taken in.")
    duplicates = serializers.IntegerField(help_text="Repeats of an id within a chunk of 5,000 lines.")
    rejected = serializers.IntegerField(help_text="Lines that are no event, or none that is taken.")
    repeated = serializers.IntegerField(help_text="Lines of chunks that were imported before.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class ImportDetailSerializer(ImportSerializer):
    first_errors = ImportErrorSerializer(many=True, help_text="The first ten.")


class ImportErrorPageSerializer(PageSerializer):
    data = ImportErrorSerializer(many=True)  # type: ignore[assignment]
    rejected = serializers.IntegerField(help_text="How many lines were refused.")
    kept = serializers.IntegerField(help_text=f"How many of them are listed: the first {MAX_PROBLEMS:,} at most.")


class _OwnFormat(DefaultContentNegotiation):
    """``format`` is what the file is in, not what the answer is to be in."""

    settings = type("_Settings", (), {"URL_FORMAT_OVERRIDE": None})()


class _ImportView(ApiView):
    content_negotiation_class = _OwnFormat

    @property
    def project_id(self) -> UUID | None:
        """A key sees the imports of its own project."""
        key = getattr(self.request._request, "api_key", None)
        return None if key is None else key.project_id

    def found(self, import_id: UUID) -> Import:
        return selectors.import_get(org_id=require_org_id(), import_id=import_id, project_id=self.project_id)


class ImportList(_ImportView):
    capabilities = {"GET": "usage.import", "POST": "usage.import"}
    scopes = {"GET": "backfill", "POST": "backfill"}
    # The file is the body: its own idempotency needs no copy of it.
    idempotent = False

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # Not ApiView's, which reads a chunked body into memory; and before anybody asks for a field of a form.
        request.upload_handlers = [FormFileHandler(request)]
        return APIView.initialize_request(self, request, *args, **kwargs)

    @extend_schema(
        tags=["Usage"], operation_id="import_list_get", responses={200: page_of(ImportSerializer, "ImportPage")},
        parameters=page_parameters(),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Imports, newest first: of the organisation, or of a key's project."""
        rows = selectors.import_list(org_id=require_org_id(), project_id=self.project_id)
        return Response(paginate(rows, request.query_params).body(_body))

    @extend_schema(
        tags=["Usage"],
        parameters=[
            OpenApiParameter("project_id", OpenApiTypes.UUID, description="Whose usage it is; a key tells its own."),
            OpenApiParameter("key_id", OpenApiTypes.UUID, description="Count under this key of the project."),
            OpenApiParameter("format", enum=services.FORMATS, description="Without it, the content is looked at."),
            OpenApiParameter("name", description="The file's name, to know it again."),
            OpenApiParameter("Idempotency-Key", location="header", description="Answers with the import it began."),
        ],
        request={
            "application/octet-stream": OpenApiTypes.BINARY, "application/x-ndjson": OpenApiTypes.BINARY,
            "text/csv": OpenApiTypes.BINARY,
            "multipart/form-data": {
                "type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}},
            },
        },
        responses={202: ImportSerializer},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Take a file in: JSON lines or CSV, plain, gzip or zstd, 2 GiB at most (a setting); counted in the background.

        A line is counted once, however often the file is sent.
        """
        params, org_id = request.query_params, require_org_id()
        project_id, key_id, once = self._project(), self._key(), request.headers.get("Idempotency-Key")
        format = params.get("format") or _TYPES.get(request._request.content_type or "", "")
        if format not in ("", *services.FORMATS):
            raise _invalid("format", f"one of {', '.join(services.FORMATS)}")
        if key_id is not None:
            key_id = key_of_project(org_id=org_id, project_id=project_id, key=str(key_id)).id
        row = services.check_new_upload(org_id=org_id, project_id=project_id, idempotency_key=once)
        if row is None:
            stored_as, size, name = receive(request._request)
            row = services.start_upload(
                org_id=org_id, project_id=project_id, key_id=key_id or self._own_key(), stored_as=stored_as, size=size,
                name=params.get("name") or name, format=format, idempotency_key=once,
            )  # fmt: skip
        return Response(_body(row), status=202, headers={"Location": f"/v1/imports/{row.pk}"})

    def _own_key(self) -> UUID | None:
        return self.actor.id if self.actor.kind == "key" else None

    def _project(self) -> UUID:
        named, own = self._id("project_id"), self.project_id
        if own is None and named is None:
            raise _invalid("project_id", "the project whose usage it is")
        if own is not None and named not in (None, own):
            raise _invalid("project_id", "the key belongs to another project")
        project_id = own or named
        assert project_id is not None
        return project_id

    def _key(self) -> UUID | None:
        named = self._id("key_id")
        if named is not None and self.actor.kind == "key" and named != self.actor.id:
            raise _invalid("key_id", "a key counts under itself")
        return named

    def _id(self, name: str) -> UUID | None:
        raw = self.request.query_params.get(name)
        try:
            return UUID(raw) if raw else None
        except ValueError as error:
            raise _invalid(name, "a UUID") from error


class ImportDetail(_ImportView):
    capabilities = {"GET": "usage.import"}
    scopes = {"GET": "backfill"}

    @extend_schema(tags=["Usage"], responses={200: ImportDetailSerializer})
    def get(self, request: Request, import_id: UUID) -> Response:
        """An import, how far it is, and the first lines that were refused."""
        row = self.found(import_id)
        return Response({**_body(row), "first_errors": list(map(_error, selectors.first_problems(row)))})


class ImportErrors(_ImportView):
    capabilities = {"GET": "usage.import"}
    scopes = {"GET": "backfill"}

    @extend_schema(tags=["Usage"], parameters=page_parameters(), responses={200: ImportErrorPageSerializer})
    def get(self, request: Request, import_id: UUID) -> Response:
        """The lines that were refused, each with its reason, in order."""
        row = self.found(import_id)
        page = paginate(selectors.problem_list(row), request.query_params, order=("line", "id"))
        return Response({**page.body(_error), "rejected": row.rejected, "kept": row.problems_kept})


class ImportCancel(_ImportView):
    capabilities = {"POST": "usage.import"}
    scopes = {"POST": "backfill"}

    @extend_schema(tags=["Usage"], request=None, responses={200: ImportSerializer})
    def post(self, request: Request, import_id: UUID) -> Response:
        """End an import and remove its file; what was counted stays."""
        return Response(
            _body(services.cancel_import(org_id=require_org_id(), import_id=import_id, project_id=self.project_id))
        )


class ImportResume(_ImportView):
    capabilities = {"POST": "usage.import"}
    scopes = {"POST": "backfill"}

    @extend_schema(tags=["Usage"], request=None, responses={202: ImportSerializer})
    def post(self, request: Request, import_id: UUID) -> Response:
        """Go on with an upload that failed, behind the last line that was counted; its file is kept for seven days.

        Not where it would fail for the same reason again: a file that is broken, a key that was revoked.
        """
        row = services.resume_import(org_id=require_org_id(), import_id=import_id, project_id=self.project_id)
        return Response(_body(row), status=202)


def _invalid(name: str, detail: str) -> ValidationFailed:
    return ValidationFailed("Some parameters are not valid", errors=[{"pointer": name, "detail": detail}])


def _body(row: Import) -> dict[str, Any]:
    return {
        "id": row.pk, "state": row.state, "failure": row.failure or None, "resumable": row.is_resumable,
        "origin": row.origin, "name": row.name,
        "project_id": row.project_id, "key_id": row.key_id, "format": row.format or None,
        "compression": row.compression or None, "size_bytes": row.size_bytes,
        "progress": {
            "percent": row.percent, "bytes_read": row.bytes_read, "bytes_total": row.content_bytes,
            "lines_read": row.lines_read,
        },
        "accepted": row.accepted, "duplicates": row.duplicates, "rejected": row.rejected, "repeated": row.repeated,
        "created_at": row.created_at, "started_at": row.started_at, "finished_at": row.finished_at,
    }  # fmt: skip


def _error(problem: ImportProblem) -> dict[str, Any]:
    return {
        "line": problem.line, "event_id": problem.event_id, "code": problem.code, "detail": problem.detail,
        "pointer": problem.pointer,
    }  # fmt: skip
