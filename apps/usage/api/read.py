"""``GET /v1/events``, ``/v1/sessions``, ``/v1/sessions/{id}``: what was counted, as it came; ``GET /v1/metrics``."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.api import ApiView
from apps.core.api.fields import page_of
from apps.core.errors import FieldError, NotFound, ValidationFailed
from apps.core.metrics import CONTENT_TYPE, exposition
from apps.core.pagination import decode_cursor, encode_cursor, read_limit
from apps.core.tenancy import require_org_id
from apps.core.views import check_metrics_access
from apps.usage.selectors.aggregate import tag_keys
from apps.usage.selectors.dimensions import DIMENSIONS
from apps.usage.selectors.raw import EVENT_FIELDS, event_search
from apps.usage.selectors.sessions import SESSION_FILTERS, session_get, session_list

__all__ = ["Events", "SessionDetail", "SessionList", "metrics"]

_FILTER = re.compile(r"^filter\[([^\]]+)\]$")
_RECENT = 50


class _SplitSerializer(serializers.Serializer):  # type: ignore[type-arg]
    ephemeral_5m_input_tokens = serializers.IntegerField()
    ephemeral_1h_input_tokens = serializers.IntegerField()


class _ServerToolsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    web_search_requests = serializers.IntegerField()
    web_fetch_requests = serializers.IntegerField()


class _WhoSerializer(serializers.Serializer):  # type: ignore[type-arg]
    project_id = serializers.UUIDField(allow_null=True)
    user_id = serializers.UUIDField(allow_null=True)
    team_id = serializers.UUIDField(allow_null=True)
    key_id = serializers.UUIDField(allow_null=True)


class EventSerializer(_WhoSerializer):
    """An event as it was counted."""

    event_id = serializers.UUIDField()
    timestamp = serializers.DateTimeField()
    org_id = serializers.UUIDField()
    event_type = serializers.CharField()
    model = serializers.CharField(allow_null=True)
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_input_tokens = serializers.IntegerField()
    cache_creation_input_tokens = serializers.IntegerField()
    cache_creation = _SplitSerializer()
    server_tool_use = _ServerToolsSerializer()
    latency_ms = serializers.IntegerField(allow_null=True)
    cost_usd = serializers.CharField(allow_null=True, help_text="Null where there is no price.")
    cost_source = serializers.ChoiceField(
        ["price_book", "reported", "unpriced"], allow_null=True, help_text="Null where nothing costs."
    )
    reported_cost_usd = serializers.CharField(allow_null=True, help_text="What the sender said it cost.")
    status = serializers.CharField()
    error_type = serializers.CharField(allow_null=True)
    stop_reason = serializers.CharField(allow_null=True)
    service_tier = serializers.CharField(allow_null=True)
    inference_geo = serializers.CharField(allow_null=True)
    speed = serializers.CharField(allow_null=True)
    session_id = serializers.CharField(allow_null=True)
    request_id = serializers.CharField(allow_null=True)
    mcp_server = serializers.CharField(allow_null=True)
    mcp_tool = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    tags = serializers.DictField(child=serializers.CharField())
    metadata = serializers.DictField()


class _SessionMetricsSerializer(serializers.Serializer):  # type: ignore[type-arg]
    events = serializers.IntegerField()
    calls = serializers.IntegerField()
    tool_calls = serializers.IntegerField()
    errors = serializers.IntegerField()  # type: ignore[assignment]
    input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cache_read_tokens = serializers.IntegerField()
    cache_creation_tokens = serializers.IntegerField()
    cost_usd = serializers.CharField()


class SessionSerializer(_WhoSerializer):
    session_id = serializers.CharField()
    started_at = serializers.DateTimeField(help_text="Its first event.")
    last_at = serializers.DateTimeField(help_text="Its last event so far.")
    duration_ms = serializers.IntegerField()
    models = serializers.ListField(child=serializers.CharField())
    metrics = _SessionMetricsSerializer()


class SessionDetailSerializer(SessionSerializer):
    recent_events = EventSerializer(many=True, help_text="The last 50; all by `GET /v1/events?filter[session_id]=`.")


def _parameters(what: str, names: Sequence[str]) -> list[OpenApiParameter]:
    return [
        OpenApiParameter("start", OpenApiTypes.DATETIME, description=f"{what} at this moment or later."),
        OpenApiParameter("end", OpenApiTypes.DATETIME, description=f"{what} before this moment."),
        OpenApiParameter(
            "filter", OpenApiTypes.OBJECT, style="deepObject", explode=True,
            description=f"`filter[{names[0]}]=a,b`: one of these values, an empty one meaning not known. By"
            f" {', '.join(names)}.",
        ),
        OpenApiParameter("limit", OpenApiTypes.INT, description="1 to 200, default 50."),
        OpenApiParameter("cursor", OpenApiTypes.STR, description="Of the page before."),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Search:
    filters: dict[str, list[str]]
    limit: int
    start: datetime | None
    end: datetime | None


def _read_search(params: QueryDict, names: Sequence[str], *, tags: bool) -> _Search:
    """The parameters of a list; :class:`ValidationFailed` that names every wrong one."""
    problems: list[FieldError] = []
    filters: dict[str, list[str]] = {}
    known_tags = [f"tag:{key}" for key in tag_keys(require_org_id())] if tags else []
    for name in params:
        if match := _FILTER.match(name):
            filters[match[1]] = [value for raw in params.getlist(name) for value in raw.split(",")]
            if match[1] not in names and match[1] not in known_tags:
                problems.append({"pointer": name, "detail": f"not one of {', '.join([*names, *known_tags])}"})
            elif any("\0" in value or len(value) > 256 for value in filters[match[1]]):
                problems.append({"pointer": name, "detail": "values of at most 256 characters"})
        elif name not in {"start", "end", "limit", "cursor"}:
            problems.append({"pointer": name, "detail": "this parameter is not known here"})
    start, end = _moment(params, "start", problems), _moment(params, "end", problems)
    if start is not None and end is not None and start >= end:
        problems.append({"pointer": "end", "detail": "after start"})
    if problems:
        raise ValidationFailed("Some parameters are not valid", errors=problems)
    return _Search(filters, read_limit(params), start, end)


def _moment(params: QueryDict, name: str, problems: list[FieldError]) -> datetime | None:
    raw = params.get(name)
    if not raw:
        return None
    try:
        # A plus sign of an offset arrives as a space where it was not escaped.
        moment = parse_datetime(raw.replace(" ", "+"))
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year <= 2100:
        problems.append({"pointer": name, "detail": "an RFC 3339 moment with its offset, from 2000 to 2100"})
        return None
    return moment


def _after(params: QueryDict, order: Sequence[str], read: Callable[[str], Any]) -> tuple[datetime, Any] | None:
    """The moment and the id that a cursor stands for."""
    raw = params.get("cursor")
    if not raw:
        return None
    at, ident = decode_cursor(raw, order=order)
    return datetime.fromisoformat(at or ""), read(ident or "")


def _page(bodies: Sequence[Mapping[str, Any]], search: _Search, cursor: Callable[[int], str]) -> Response:
    """The answer of a list that was asked for one row more than its page holds."""
    more = len(bodies) > search.limit
    return Response({"data": bodies[: search.limit], "next_cursor": cursor(search.limit - 1) if more else None})


class Events(ApiView):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}
    order = ("-timestamp", "-event_id")
    names = (*DIMENSIONS, *EVENT_FIELDS)

    @extend_schema(
        tags=["Usage"],
        responses={200: page_of(EventSerializer, "EventPage")},
        parameters=_parameters("Events", [*names, "tag:<name>"]),
    )
    def get(self, request: Request) -> Response:
        """Search raw events, newest first."""
        params = request.query_params
        search = _read_search(params, self.names, tags=True)
        rows = event_search(
            org_id=require_org_id(), filters=search.filters, limit=search.limit + 1, start=search.start, end=search.end,
            after=_after(params, self.order, UUID),
        )  # fmt: skip
        return _page(
            [row.body for row in rows],
            search,
            lambda last: encode_cursor([rows[last].at.isoformat(), rows[last].event_id], order=self.order),
        )


class SessionList(ApiView):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}
    order = ("-last_at", "-number")

    @extend_schema(
        tags=["Usage"], responses={200: page_of(SessionSerializer, "SessionPage")},
        parameters=_parameters("Sessions whose last event is", SESSION_FILTERS),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Sessions, the latest first."""
        params = request.query_params
        search = _read_search(params, SESSION_FILTERS, tags=False)
        rows = session_list(
            org_id=require_org_id(), filters=search.filters, limit=search.limit + 1, start=search.start, end=search.end,
            after=_after(params, self.order, int),
        )  # fmt: skip
        return _page(
            [row.body for row in rows],
            search,
            lambda last: encode_cursor([rows[last].at.isoformat(), rows[last].number], order=self.order),
        )


class SessionDetail(ApiView):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}

    @extend_schema(tags=["Usage"], responses={200: SessionDetailSerializer})
    def get(self, request: Request, session_id: str) -> Response:
        """A session and its latest events."""
        org_id = require_org_id()
        found = session_get(org_id=org_id, session_id=session_id)
        if found is None:
            raise NotFound("There is no such session")
        events = event_search(org_id=org_id, filters={"session_id": [session_id]}, limit=_RECENT)
        return Response({**found.body, "recent_events": [event.body for event in events]})


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The usage tracker's share of ``/metrics``."""
    check_metrics_access(request)
    return HttpResponse(exposition("mindweave_usage"), content_type=CONTENT_TYPE)
