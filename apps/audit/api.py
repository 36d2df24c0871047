"""`GET /audit`."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import selectors
from apps.audit.contracts import AuditFilter
from apps.audit.models import AuditEntry
from apps.core.api import ApiView, StrictSerializer
from apps.core.api.fields import page_of
from apps.core.errors import ValidationFailed
from apps.core.pagination import paginate

__all__ = ["AuditList"]

_ORDER = ("-occurred_at", "-id")


class AuditQuerySerializer(StrictSerializer):
    action = serializers.RegexField(
        r"^[a-z_]+(\.[a-z_]+)*(\.\*)?$", max_length=100, required=False, help_text="a name, or a family: `project.*`"
    )
    actor_id = serializers.UUIDField(required=False)
    target_type = serializers.CharField(max_length=60, required=False)
    target_id = serializers.CharField(max_length=200, required=False)
    correlation_id = serializers.CharField(max_length=100, required=False)
    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)
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


class AuditList(ApiView):
    capabilities = {"GET": "audit.read"}
    scopes = {"GET": "admin"}

    @extend_schema(
        tags=["Audit"], parameters=[AuditQuerySerializer], responses={200: page_of(AuditEntrySerializer, "AuditPage")}
    )
    def get(self, request: Request) -> Response:
        """The organisation's audit trail, newest first."""
        query = AuditQuerySerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wanted = {name: value for name, value in query.validated_data.items() if name not in {"limit", "cursor"}}
        if "start" in wanted and "end" in wanted and wanted["start"] >= wanted["end"]:
            raise ValidationFailed("The period is empty", errors=[{"pointer": "end", "detail": "after start"}])
        page = paginate(selectors.audit_list(AuditFilter(**wanted)), request.query_params, order=_ORDER)
        return Response(page.body(_entry))


def _entry(entry: AuditEntry) -> dict[str, object]:
    body: dict[str, object] = AuditEntrySerializer(entry).data
    return body
