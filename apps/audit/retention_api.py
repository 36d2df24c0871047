"""How long an organisation keeps its log, over the API."""

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit import selectors, services
from apps.audit.retention import least_days, most_days
from apps.core.api import ApiView, StrictSerializer
from apps.core.tenancy import require_org_id

__all__ = ["RetentionDetail"]


class RetentionChangeSerializer(StrictSerializer):
    days = serializers.IntegerField(
        min_value=1, max_value=32_000, allow_null=True, help_text="Null: for as long as the system keeps its own."
    )


class RetentionSerializer(serializers.Serializer):  # type: ignore[type-arg]
    days = serializers.IntegerField(help_text="What holds: entries that are older go in the night, for good.")
    own = serializers.BooleanField(help_text="Whether the organisation chose it; false: it is the system's.")
    least = serializers.IntegerField()
    most = serializers.IntegerField()


def _answer() -> Response:
    own = selectors.retention_days()
    body = {
        "days": min(own or most_days(), most_days()),
        "own": own is not None,
        "least": least_days(),
        "most": most_days(),
    }
    return Response(RetentionSerializer(body).data)


class RetentionDetail(ApiView):
    capabilities = {"GET": "audit.read", "PUT": "audit.manage"}
    scopes = {"GET": "admin"}
    step_up = frozenset({"PUT"})

    @extend_schema(tags=["Audit"], operation_id="audit_retention_retrieve", responses={200: RetentionSerializer})
    def get(self, request: Request) -> Response:
        """For how long the organisation's audit trail is kept."""
        return _answer()

    @extend_schema(tags=["Audit"], request=RetentionChangeSerializer, responses={200: RetentionSerializer})
    def put(self, request: Request) -> Response:
        """Keep it for less than the system does, or for as long again. The chain verifies from what is kept."""
        services.set_retention(org_id=require_org_id(), days=self.valid(RetentionChangeSerializer)["days"])
        return _answer()
