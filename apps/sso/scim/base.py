"""The base of SCIM's endpoints: its media type, its errors, its log, its own rate limit."""

from collections.abc import Mapping
from typing import IO, Any, ClassVar
from uuid import UUID

import orjson
from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core import ports
from apps.core.api import ApiView
from apps.core.api.parsers import StrictJSONParser
from apps.core.errors import MindWeaveError, NotFound, PermissionDenied, PreconditionFailed
from apps.core.openapi import ApiSchema
from apps.core.ratelimit import Limit
from apps.sso.models import ScimGroup, ScimUser
from apps.sso.scim.authentication import ScimAuthentication
from apps.sso.scim.errors import ScimError, as_body
from apps.sso.scim.resources import LIST_SCHEMA, etag
from apps.sso.scim.schemas import MOST_RESULTS
from apps.sso.services import note_scim_request

__all__ = ["MEDIA_TYPE", "ScimView", "listed", "page_of_rows"]

MEDIA_TYPE = "application/scim+json"
_COUNT = 100


class ScimParser(StrictJSONParser):
    """JSON under SCIM's own name."""

    media_type = MEDIA_TYPE


class AnyJSONParser(BaseParser):
    """Some clients name no type, or another: what is JSON is taken."""

    media_type = "*/*"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        return StrictJSONParser().parse(stream, media_type, parser_context)


class ScimRenderer(JSONRenderer):
    """JSON under SCIM's own name, whatever of JSON is accepted."""

    media_type = MEDIA_TYPE
    format = "scim"


class PlainRenderer(ScimRenderer):
    """For clients that accept plain JSON only; the answer is SCIM's all the same."""

    media_type = "application/json"
    format = "json"

    def get_indent(self, *args: Any) -> None:
        return None


class ScimSchema(ApiSchema):
    """In the OpenAPI document: what is refused comes as SCIM's error."""

    def get_operation(self, *args: Any) -> Any:
        operation = super().get_operation(*args)
        for status, answer in (operation or {}).get("responses", {}).items():
            if status[0] in "45":
                answer["content"] = {MEDIA_TYPE: {"schema": {"type": "object"}}}
        return operation


class ScimView(ApiView):
    """An endpoint of one organisation: the token's. ``capabilities`` names its methods; no person has them."""

    authentication_classes = (ScimAuthentication,)
    parser_classes = (ScimParser, AnyJSONParser)  # type: ignore[assignment]
    renderer_classes = (ScimRenderer, PlainRenderer)
    schema = ScimSchema()
    idempotent = False
    limit: ClassVar[Limit] = Limit("scim", 1500, 60)
    # Whom or what the request is about, for the log.
    subject = ""

    def resolve_org(self, request: Request, **kwargs: Any) -> UUID:
        if self.actor.org_id is None:
            raise NotFound()
        if not ports.permissions.get().org_is_active(self.actor.org_id):
            raise PermissionDenied("This organisation is suspended", code="org_suspended")
        return self.actor.org_id

    def check_capability(self, method: str) -> None:
        """A token may do all that SCIM offers, in its organisation."""

    @property
    def org(self) -> UUID:
        if self.org_id is None:
            raise NotFound()
        return self.org_id

    # ------------------------------------------------------------------ answers
    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        error = self._known(exc)
        if error is None:
            raise exc
        response = HttpResponse(orjson.dumps(as_body(error)), status=error.status, content_type=MEDIA_TYPE)
        for name, value in error.headers.items():
            response.headers[name] = value
        response.exception = True  # type: ignore[attr-defined]
        self.refused = error
        return response

    refused: MindWeaveError | None = None

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(response, Response):
            response.content_type = MEDIA_TYPE
        actor = getattr(self, "actor", None)
        if actor is not None and actor.org_id is not None and actor.id is not None:
            told = self.refused.detail or self.refused.title if self.refused else ""
            note_scim_request(
                org_id=actor.org_id, token_id=actor.id, method=request.method, path=request.path,
                status=response.status_code, subject=self.subject, detail=told,
            )  # fmt: skip
        return response

    def check_version(self, row: ScimUser | ScimGroup) -> None:
        """``If-Match``: write only over the version that the client read."""
        wanted = self.request.headers.get("If-Match")
        if wanted is not None and wanted.strip() != "*":
            versions = {part.strip() for part in wanted.split(",")}
            if etag(row) not in versions:
                raise PreconditionFailed("The resource has changed since")

    def answer(self, row: ScimUser | ScimGroup, document: dict[str, Any], *, status: int = 200) -> Response:
        """A resource with its version; 304 where the client has it."""
        known = self.request.headers.get("If-None-Match", "")
        if self.request.method == "GET" and etag(row) in {part.strip() for part in known.split(",")}:
            return Response(status=304, headers={"ETag": etag(row)})
        headers = {"ETag": etag(row)}
        if status == 201:
            headers["Location"] = document.get("meta", {}).get("location", "")
        return Response(document, status=status, headers=headers)


def page_of_rows(rows: QuerySet[Any], query: Mapping[str, str]) -> tuple[list[Any], int, int]:
    """The rows of ``startIndex`` and ``count`` (RFC 7644, 3.4.2.4), the place of the first, and how many there are."""
    start, count = _number(query, "startIndex", 1), _number(query, "count", _COUNT)
    start, count = max(start, 1), min(max(count, 0), MOST_RESULTS)
    total = rows.count()
    found = list(rows.order_by("created_at", "id")[start - 1 : start - 1 + count]) if count else []
    return found, start, total


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    raw = query.get(name)
    if raw is None or raw == "":
        return default
    digits = raw.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 9):
        raise ScimError(f"{name} is a whole number", "invalidValue")
    return int(raw)


def listed(documents: list[dict[str, Any]], *, start: int, total: int) -> dict[str, Any]:
    """A list as SCIM has it."""
    return {
        "schemas": [LIST_SCHEMA],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": len(documents),
        "Resources": documents,
    }
