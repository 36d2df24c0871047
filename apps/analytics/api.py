"""`GET /analytics/usage`, `GET /orgs/{id}/usage`."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import QueryDict
from django.utils.dateparse import parse_date, parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.accounts.selectors import org_get
from apps.analytics import selectors
from apps.analytics.billing_period import LIMITS, org_usage
from apps.core import clock
from apps.core.api import ApiView
from apps.core.errors import FieldError, ValidationFailed
from apps.core.money import nano_to_str
from apps.core.tenancy import require_org_id
from apps.usage.granted import OfUsage, narrowed
from apps.usage.selectors import DIMENSIONS, GRANULARITIES, Metrics, UsageAnswer, tag_keys

__all__ = ["OrganizationUsage", "Usage", "UsageAnswerSerializer", "metrics_body", "read_query", "usage_body"]

_FILTER = re.compile(r"^filter\[([^\]]+)\]$")
_KNOWN = {"start", "end", "granularity", "group_by", "timezone", "limit", "cursor"}
_DEFAULT_DAYS = 30
_MOST_GROUPS = 4


class MetricsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    events = serializers.IntegerField(help_text="All events.")
    calls = serializers.IntegerField(help_text="`api_call` events.")
    tool_calls = serializers.IntegerField(help_text="`mcp_tool` events.")
    errors = serializers.IntegerField(help_text="Calls and tool calls that failed.")  # type: ignore[assignment]
    call_errors = serializers.IntegerField(help_text="Calls that failed.")
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_creation_tokens = serializers.IntegerField()
    web_searches = serializers.IntegerField()
    cost_usd = serializers.CharField(help_text="Exact, as a decimal string.")
    reported_cost_usd = serializers.CharField(help_text="What senders said it cost.")
    unpriced = serializers.IntegerField(help_text="Events whose model has no price.")
    latency_ms_p50 = serializers.IntegerField(allow_null=True)
    latency_ms_p95 = serializers.IntegerField(allow_null=True)


class UsageRowSerializer(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.DateTimeField(allow_null=True)
    group = serializers.DictField(child=serializers.CharField(allow_null=True))
    metrics = MetricsSerializer()


class PeriodSerializer(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    granularity = serializers.ChoiceField(GRANULARITIES)
    timezone = serializers.CharField()


class UsageAnswerSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = UsageRowSerializer(many=True)  # type: ignore[assignment]
    totals = MetricsSerializer()
    period = PeriodSerializer()
    as_of = serializers.DateTimeField(help_text="Every event acknowledged before it is counted.")
    next_cursor = serializers.CharField(allow_null=True)


def _stamp(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo("UTC")).isoformat().replace("+00:00", "Z")


_METRICS = tuple(str(name) for name in MetricsSerializer().get_fields())


def metrics_body(metrics: Metrics) -> dict[str, Any]:
    """The metrics as JSON carries them."""
    return {name: getattr(metrics, name) for name in _METRICS}


def usage_body(answer: UsageAnswer, query: Mapping[str, Any]) -> dict[str, Any]:
    """The common answer of the analytics endpoints."""
    return {
        "data": [
            {
                "start": _stamp(row.start) if row.start else None,
                "group": dict(row.group),
                "metrics": metrics_body(row.metrics),
            }
            for row in answer.data
        ],
        "totals": metrics_body(answer.totals),
        "period": {
            "start": _stamp(query["start"]),
            "end": _stamp(query["end"]),
            "granularity": query["granularity"],
            "timezone": query["timezone"],
        },
        "as_of": _stamp(answer.as_of),
        "next_cursor": None,
    }


class Usage(OfUsage):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}

    @extend_schema(
        tags=["Analytics"],
        responses={200: UsageAnswerSerializer},
        parameters=[
            OpenApiParameter("start", str, description="RFC 3339 moment or date, included; default 30 days ago."),
            OpenApiParameter("end", str, description="RFC 3339 moment or date, not included; default: up to now."),
            OpenApiParameter("granularity", str, enum=GRANULARITIES, description="Default `day`."),
            OpenApiParameter("group_by", str, description=f"{', '.join(DIMENSIONS)}, tag:<name>; comma-separated."),
            OpenApiParameter("timezone", str, description="IANA name; default the organisation's."),
            OpenApiParameter(
                "filter", OpenApiTypes.OBJECT, style="deepObject", explode=True,
                description="`filter[model]=a,b`: one of these values; an empty value means not known.",
            ),
        ],
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Usage and cost by time and by any dimension.

        Who was given `usage.read` on single projects alone sees that of these.
        """
        query = read_query(request.query_params, org_timezone=org_get(require_org_id()).timezone)
        query["filters"] = narrowed(query["filters"], self.given)
        answer = selectors.usage_query(org_id=require_org_id(), **query)
        return Response(usage_body(answer, query))


class _SpanSerializer(serializers.Serializer):  # type: ignore[type-arg]
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    timezone = serializers.CharField()


class _LimitsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    def get_fields(self) -> dict[str, serializers.Field]:  # type: ignore[type-arg]
        return {name: serializers.IntegerField(allow_null=True) for name in LIMITS}


class _ForecastSerializer(serializers.Serializer):  # type: ignore[type-arg]
    method = serializers.ChoiceField(["pace"], help_text="`pace`: the period's end at the pace so far.")
    calls = serializers.IntegerField()
    cost_usd = serializers.CharField()


class OrganizationUsageSerializer(serializers.Serializer):  # type: ignore[type-arg]
    period = _SpanSerializer()
    totals = MetricsSerializer()
    limits = _LimitsSerializer(help_text="What the plan allows; null is no limit.")
    forecast = _ForecastSerializer()
    as_of = serializers.DateTimeField()


class OrganizationUsage(ApiView):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Organisations"], responses={200: OrganizationUsageSerializer})
    def get(self, request: Request, org_id: UUID) -> Response:
        """The current billing period: totals, limits, forecast."""
        found = org_usage(org_id)
        return Response(
            {
                "period": {"start": _stamp(found.start), "end": _stamp(found.end), "timezone": found.timezone},
                "totals": metrics_body(found.usage.totals),
                "limits": found.limits,
                "forecast": {
                    "method": "pace",
                    "calls": found.forecast_calls,
                    "cost_usd": nano_to_str(found.forecast_nano),
                },
                "as_of": _stamp(found.usage.as_of),
            }
        )


def read_query(params: QueryDict, *, org_timezone: str) -> dict[str, Any]:
    """The parameters that the analytics endpoints share, as ``usage_query`` takes them.

    Raises :class:`ValidationFailed` that names every wrong one.
    """
    problems: list[FieldError] = []

    def wrong(pointer: str, detail: str) -> None:
        problems.append({"pointer": pointer, "detail": detail})

    timezone = params.get("timezone") or org_timezone
    if timezone not in clock.zone_names():
        wrong("timezone", "an IANA time zone, such as Europe/Berlin")
        timezone = org_timezone
    zone = ZoneInfo(timezone)
    granularity = params.get("granularity") or "day"
    if granularity not in GRANULARITIES:
        wrong("granularity", f"one of {', '.join(GRANULARITIES)}")
    start, end = _period(params, zone, granularity, wrong)
    group_by = [name for name in (params.get("group_by") or "").split(",") if name]
    if len(group_by) > _MOST_GROUPS or len(set(group_by)) != len(group_by):
        wrong("group_by", f"at most {_MOST_GROUPS} dimensions, each once")
    filters: dict[str, list[str]] = {}
    for name in params:
        if match := _FILTER.match(name):
            filters[match[1]] = [value for raw in params.getlist(name) for value in raw.split(",")]
        elif name not in _KNOWN:
            wrong(name, "this parameter is not known here")
    for pointer, name in [("group_by", name) for name in group_by] + [(f"filter[{name}]", name) for name in filters]:
        _check_dimension(pointer, name, wrong)
    if problems:
        raise ValidationFailed("Some parameters are not valid", errors=problems)
    return {
        "start": start, "end": end, "timezone": timezone, "granularity": granularity, "group_by": group_by,
        "filters": filters,
    }  # fmt: skip


def _check_dimension(pointer: str, name: str, wrong: Any) -> None:
    if name.startswith("tag:"):
        if name.removeprefix("tag:") not in tag_keys(require_org_id()):
            wrong(pointer, f"{name.removeprefix('tag:')[:60]!r} is not a registered tag of this organisation")
    elif name not in DIMENSIONS:
        wrong(pointer, f"{name[:60]!r} is not one of {', '.join(DIMENSIONS)}, tag:<name>")


def _period(params: QueryDict, zone: ZoneInfo, granularity: str, wrong: Any) -> tuple[datetime, datetime]:
    moment = clock.now().replace(second=0, microsecond=0)
    today = moment.astimezone(zone).date()
    # Up to now, on a border that the coarsest sums know: an odd minute would ask for minutes, which are not kept long.
    ends = {"minute": moment + timedelta(minutes=1), "hour": moment.replace(minute=0) + timedelta(hours=1)}
    now = ends.get(granularity) or datetime.combine(today + timedelta(days=1), time(), zone)
    end = _point(params.get("end"), zone, "end", wrong) or now
    first = datetime.combine(today - timedelta(days=_DEFAULT_DAYS - 1), time(), zone)
    start = _point(params.get("start"), zone, "start", wrong) or first
    if start >= end and not (params.get("start") is None and end <= start):
        wrong("end", "after start")
    return min(start, end), end


def _point(raw: str | None, zone: ZoneInfo, name: str, wrong: Any) -> datetime | None:
    """A moment with its offset, or a date in the zone."""
    if not raw:
        return None
    try:
        day: date | None = parse_date(raw)
        if day is not None:
            return _within(datetime.combine(day, time(), zone))
        # A plus sign of an offset arrives as a space where it was not escaped.
        moment = parse_datetime(raw.replace(" ", "+")) or parse_datetime(raw)
        if moment is not None and moment.tzinfo is not None:
            return _within(moment)
    except (ValueError, OverflowError):
        pass
    wrong(name, "an RFC 3339 moment with its offset, such as 2026-11-23T10:00:00Z, or a date, from 2000 to 2100")
    return None


def _within(moment: datetime) -> datetime:
    if not 2000 <= moment.year <= 2100:
        raise ValueError("out of range")
    return moment
