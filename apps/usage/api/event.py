"""``GET /v1/events/{event_id}``: one event with its cost explained; ``/v1/reprices``: pricing again."""

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit.services import record_read
from apps.core.api import ApiView
from apps.core.api.fields import page_of
from apps.core.api.serializers import StrictSerializer
from apps.core.errors import NotFound
from apps.core.money import nano_to_str
from apps.core.tenancy import require_org_id
from apps.usage.api.read import EventSerializer
from apps.usage.chunks import fetch
from apps.usage.granted import OfUsage, require_given
from apps.usage.repricing import reprice_start
from apps.usage.selectors.event import event_explained

__all__ = ["EventDetail", "RepriceDetail", "RepriceList"]

_GONE = "There is no such event, or it is past its retention"


class _PriceSerializer(serializers.Serializer):  # type: ignore[type-arg]
    model = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    valid_from = serializers.DateTimeField()
    valid_to = serializers.DateTimeField(allow_null=True)
    multipliers = serializers.DictField(child=serializers.CharField())


class _LineSerializer(serializers.Serializer):  # type: ignore[type-arg]
    kind = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_usd = serializers.CharField()
    unit = serializers.CharField()
    multiplier = serializers.CharField()
    usd = serializers.CharField(help_text="Exact; the sum of all lines is rounded once.")


class _ExplanationSerializer(serializers.Serializer):  # type: ignore[type-arg]
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    price = _PriceSerializer(allow_null=True)
    lines = _LineSerializer(many=True)
    book_cost_usd = serializers.CharField(allow_null=True)
    note = serializers.CharField()


class EventDetailSerializer(EventSerializer):
    cost_explanation = _ExplanationSerializer()


class EventDetail(OfUsage):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Usage"], operation_id="v1_events_retrieve", responses={200: EventDetailSerializer})
    def get(self, request: Request, event_id: UUID) -> Response:
        """One event, while raw events are kept, and how its cost came about."""
        body = event_explained(org_id=require_org_id(), event_id=event_id)
        if body is None:
            raise NotFound(_GONE)
        require_given(body["project_id"], self.given, _GONE)
        record_read(what="raw events", org_id=self.org_id)
        return Response(body)


class RepriceRequest(StrictSerializer):
    model = serializers.CharField(max_length=200, required=False, default="", help_text="One model; all by default.")
    start = serializers.DateTimeField(required=False, allow_null=True, default=None)
    end = serializers.DateTimeField(required=False, allow_null=True, default=None)
    only_unpriced = serializers.BooleanField(required=False, default=True)
    reason = serializers.CharField(max_length=500, required=False, default="", allow_blank=True)


class RepriceSerializer(serializers.Serializer):  # type: ignore[type-arg]
    id = serializers.UUIDField()
    model = serializers.CharField(allow_blank=True)
    start = serializers.DateTimeField(allow_null=True)
    end = serializers.DateTimeField(allow_null=True)
    only_unpriced = serializers.BooleanField()
    state = serializers.ChoiceField(["queued", "running", "completed", "failed"])
    looked_at = serializers.IntegerField(help_text="Events looked at so far.")
    changed = serializers.IntegerField()
    left_alone = serializers.IntegerField(help_text="Events in sums of which the parts cannot be told apart.")
    cost_before_usd = serializers.CharField(help_text="Of what was changed.")
    cost_after_usd = serializers.CharField()
    error = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


_FIELDS = (
    "id, model, start_at, end_at, only_unpriced, state, looked_at, changed, left_alone, cost_before, cost_after, error,"
    " created_at, started_at, finished_at"
)
_RECENT = 100


def _read(org_id: UUID, run_id: UUID | None = None) -> list[dict[str, Any]]:
    rows = fetch(
        f"SELECT {_FIELDS} FROM usage_reprice WHERE org_id = %(org)s"  # noqa: S608
        + (" AND id = %(id)s" if run_id else "")
        + f" ORDER BY created_at DESC LIMIT {_RECENT}",
        {"org": org_id, "id": run_id},
    )
    names = [name.strip() for name in _FIELDS.split(",")]
    return [_body(dict(zip(names, row, strict=True))) for row in rows]


def _body(row: dict[str, Any]) -> dict[str, Any]:
    row["start"], row["end"] = row.pop("start_at"), row.pop("end_at")
    row["cost_before_usd"] = nano_to_str(int(row.pop("cost_before")))
    row["cost_after_usd"] = nano_to_str(int(row.pop("cost_after")))
    return {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in row.items()
    }


class RepriceList(ApiView):
    capabilities = {"GET": "price.read", "POST": "price.manage"}

    @extend_schema(tags=["Usage"], responses={200: page_of(RepriceSerializer, "RepricePage")})
    def get(self, request: Request) -> Response:
        """The repricings of the organisation, the last hundred, newest first."""
        return Response({"data": _read(require_org_id()), "next_cursor": None})

    @extend_schema(tags=["Usage"], request=RepriceRequest, responses={202: RepriceSerializer})
    def post(self, request: Request) -> Response:
        """Price again what was counted, in the background; by default only what has no price."""
        wanted = RepriceRequest(data=request.data)
        wanted.is_valid(raise_exception=True)
        run_id = reprice_start(org_id=require_org_id(), **wanted.validated_data)
        return Response(_read(require_org_id(), run_id)[0], status=202)


class RepriceDetail(ApiView):
    capabilities = {"GET": "price.read"}

    @extend_schema(tags=["Usage"], operation_id="v1_reprices_retrieve", responses={200: RepriceSerializer})
    def get(self, request: Request, reprice_id: UUID) -> Response:
        """A repricing and how far it has come."""
        found = _read(require_org_id(), reprice_id)
        if not found:
            raise NotFound("There is no such repricing")
        return Response(found[0])
