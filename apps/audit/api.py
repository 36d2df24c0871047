"""The audit trail over the API: to read, to take away and to verify."""

from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import selectors
from apps.audit.contracts import AuditFilter, Verified
from apps.audit.export import CONTENT_TYPES, export_response
from apps.audit.models import AuditEntry
from apps.audit.services import record_read
from apps.audit.signing import jwks
from apps.audit.verify import verify_chain
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import page_of
from apps.core.errors import NotFound, ValidationFailed
from apps.core.pagination import decode_cursor, encode_cursor, paginate
from apps.core.ratelimit import Limit

__all__ = ["AuditDetail", "AuditExport", "AuditFilterSerializer", "AuditKeys", "AuditList", "AuditVerify", "wanted_of"]

_ORDER = ("-occurred_at", "-id")


_PLACE = ("position", "chain")
VERIFY_SECONDS = 3.0


class AuditFilterSerializer(StrictSerializer):
    action = serializers.RegexField(
        r"^[a-z_]+(\.[a-z_]+)*(\.\*)?$", max_length=100, required=False, help_text="a name, or a family: `project.*`"
    )
    actor_id = serializers.UUIDField(required=False)
    target_type = serializers.CharField(max_length=60, required=False)
    target_id = serializers.CharField(max_length=200, required=False)
    correlation_id = serializers.CharField(max_length=100, required=False)
    ip = serializers.IPAddressField(required=False, help_text="One address that it was done from, whole.")
    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)


class AuditQuerySerializer(AuditFilterSerializer):
    limit = serializers.IntegerField(min_value=1, max_value=200, required=False)
    cursor = serializers.CharField(required=False)


class AuditActorSerializer(serializers.Serializer):  # type: ignore[type-arg]
    kind = serializers.CharField(source="actor_kind")
    id = serializers.UUIDField(source="actor_id", allow_null=True)
    label = serializers.CharField(source="actor_label")  # type: ignore[assignment]
    impersonator_id = serializers.UUIDField(allow_null=True)
    ip = serializers.CharField(allow_null=True)
    user_agent = serializers.CharField()


class AuditTargetSerializer(serializers.Serializer):  # type: ignore[type-arg]
    type = serializers.CharField(source="target_type")
    id = serializers.CharField(source="target_id")
    label = serializers.CharField(source="target_label")  # type: ignore[assignment]


class AuditEntrySerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    occurred_at = serializers.DateTimeField()
    action = serializers.CharField()
    actor = AuditActorSerializer(source="*")
    target = AuditTargetSerializer(source="*")
    changes = serializers.DictField(
        child=serializers.ListField(), help_text="field → [before, after]; secrets are redacted"
    )
    reason = serializers.CharField()
    correlation_id = serializers.CharField()
    is_erased = serializers.BooleanField(source="erased", help_text="Some of it cannot be read any more.")


class AuditExportQuerySerializer(AuditFilterSerializer):
    format = serializers.ChoiceField(choices=sorted(CONTENT_TYPES), default="jsonl")


class VerifyQuerySerializer(StrictSerializer):
    since = serializers.DateTimeField(
        required=False, help_text="From the last checkpoint before; left out: from the oldest."
    )
    until = serializers.DateTimeField(required=False, help_text="To the first entry done then; left out: to the head.")
    cursor = serializers.CharField(required=False)


class BrokenSerializer(serializers.Serializer):  # type: ignore[type-arg]
    position = serializers.IntegerField(allow_null=True)
    entry_id = serializers.UUIDField(allow_null=True)
    reason = serializers.ChoiceField(choices=["altered", "missing", "inserted", "reordered", "bad_signature"])
    detail = serializers.CharField()


class VerifiedSerializer(serializers.Serializer):  # type: ignore[type-arg]
    is_whole = serializers.BooleanField(help_text="Nothing broken was found in what was verified.")
    is_complete = serializers.BooleanField(help_text="False: the time was up; go on with `next_cursor`.")
    chain_id = serializers.UUIDField()
    from_position = serializers.IntegerField()
    to_position = serializers.IntegerField()
    entries = serializers.IntegerField()
    checkpoints = serializers.IntegerField()
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)
    broken = BrokenSerializer(allow_null=True, help_text="The first broken place.")
    next_cursor = serializers.CharField(allow_null=True)


class JwksSerializer(serializers.Serializer):  # type: ignore[type-arg]
    keys = serializers.ListField(child=serializers.DictField())


def wanted_of(query: dict[str, Any]) -> AuditFilter:
    """The filter that parameters ask for; :class:`ValidationFailed` for a period that is none."""
    wanted = {name: value for name, value in query.items() if name not in {"limit", "cursor", "format"}}
    if "start" in wanted and "end" in wanted and wanted["start"] >= wanted["end"]:
        raise ValidationFailed("The period is empty", errors=[{"pointer": "end", "detail": "after start"}])
    return AuditFilter(**wanted)


class AuditList(ApiView):
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}

    @extend_schema(
        tags=["Audit"], parameters=[AuditQuerySerializer], responses={200: page_of(AuditEntrySerializer, "AuditPage")}
    )
    def get(self, request: Request) -> Response:
        """The organisation's audit trail, newest first. Who reads it is recorded, once an hour."""
        query = AuditQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wanted = wanted_of(query.validated_data)
        page = paginate(selectors.audit_list(wanted), request.query_params, order=_ORDER)
        record_read(what="audit log", org_id=self.org_id)
        return Response(page.body(_entry))


class AuditDetail(ApiView):
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}

    @extend_schema(tags=["Audit"], responses={200: AuditEntrySerializer})
    def get(self, request: Request, entry_id: UUID) -> Response:
        """One entry."""
        entry = selectors.audit_get(entry_id)
        if entry is None:
            raise NotFound
        record_read(what="audit log", org_id=self.org_id)
        return Response(_entry(entry))


class _NoNegotiation(BaseContentNegotiation):
    """``format`` is our own parameter here, and the answer is no rendering of DRF's."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class AuditExport(ApiView):
    content_negotiation_class = _NoNegotiation
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}
    limit = Limit("audit-export", 30, 60)

    @extend_schema(
        tags=["Audit"],
        parameters=[AuditExportQuerySerializer],
        responses={
            (200, "application/x-ndjson"): OpenApiTypes.STR,
            (200, "text/csv"): OpenApiTypes.STR,
            (200, "text/plain"): OpenApiTypes.STR,
        },
    )
    def get(self, request: Request) -> Any:
        """The trail as a file: JSON lines that an outsider can verify, CSV, or CEF; oldest first, of any length.

        Each export is recorded.
        """
        query = AuditExportQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        assert self.org_id is not None
        return export_response(self.org_id, wanted_of(query.validated_data), query.validated_data["format"])


class AuditVerify(ApiView):
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}
    limit = Limit("audit-verify", 60, 60)

    @extend_schema(tags=["Audit"], parameters=[VerifyQuerySerializer], responses={200: VerifiedSerializer})
    def get(self, request: Request) -> Response:
        """Verify the organisation's chain, from its oldest kept checkpoint or for a period.

        A call takes some seconds at most; what is left is verified with `next_cursor`. Ends at the first broken place.
        """
        query = VerifyQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        assert self.org_id is not None
        place = _place(asked["cursor"]) if "cursor" in asked else None
        since: datetime | None = asked.get("since")
        found = verify_chain(self.org_id, since=since, until=asked.get("until"), cursor=place, seconds=VERIFY_SECONDS)
        return Response(verified_body(found))


def _place(cursor: str) -> tuple[int, bytes]:
    position, chain = decode_cursor(cursor, order=_PLACE)
    return int(position or 0), bytes.fromhex(chain or "")


def verified_body(found: Verified) -> dict[str, Any]:
    """A verification as the API tells it."""
    body = {
        **asdict(found),
        "is_whole": found.is_whole,
        "is_complete": found.complete,
        "to_position": found.position,
        "next_cursor": None
        if found.next is None
        else encode_cursor([found.next[0], found.next[1].hex()], order=_PLACE),
    }
    rendered: dict[str, Any] = VerifiedSerializer(body).data
    return rendered


class AuditKeys(ApiView):
    public = frozenset({"GET"})
    org_required = False

    @extend_schema(tags=["Audit"], responses={200: OpenApiResponse(JwksSerializer)}, auth=[])
    def get(self, request: Request) -> Response:
        """The public keys (RFC 7517) that verify checkpoints of exports, former ones too."""
        return Response(jwks())


def _entry(entry: AuditEntry) -> dict[str, Any]:
    """An entry as :class:`AuditEntrySerializer` documents it; by hand, for a page of 200 takes that one 60 ms."""
    return {
        "id": str(entry.pk),
        "occurred_at": entry.occurred_at.isoformat().replace("+00:00", "Z"),
        "action": entry.action,
        "actor": {
            "kind": entry.actor_kind,
            "id": None if entry.actor_id is None else str(entry.actor_id),
            "label": entry.actor_label,
            "impersonator_id": None if entry.impersonator_id is None else str(entry.impersonator_id),
            "ip": entry.ip,
            "user_agent": entry.user_agent,
        },
        "target": {"type": entry.target_type, "id": entry.target_id, "label": entry.target_label},
        "changes": entry.changes,
        "reason": entry.reason,
        "correlation_id": entry.correlation_id,
        "is_erased": entry.erased,
    }
