"""``GET /v1/events``, ``/v1/sessions``, ``/v1/sessions/{id}``: what was counted, as it came; ``GET /v1/metrics``."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.audit.services import record_read
from apps.core.api.fields import page_of
from apps.core.api.renderers import PageRenderer
from apps.core.errors import NotFound, ValidationFailed
from apps.core.metrics import CONTENT_TYPE, exposition
from apps.core.pagination import decode_cursor, encode_cursor, read_limit
from apps.core.tenancy import require_org_id
from apps.core.views import check_metrics_access
from apps.usage.api.search import EVENT_FILTERS, after, page, page_parameters, parameters, read_search
from apps.usage.granted import OfUsage, narrowed, only_of
from apps.usage.selectors.raw import EventRow, event_search
from apps.usage.selectors.sessions import SESSION_FILTERS, SESSION_STATES, SessionRow, session_get, session_list
from apps.usage.selectors.timeline import kind_of, session_events
from apps.usage.sessions import idle_limit

__all__ = ["EventSerializer", "Events", "SessionDetail", "SessionList", "metrics"]


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
    state = serializers.ChoiceField(
        SESSION_STATES, help_text="`ended` when nothing came for half an hour (a setting); it may go on after all."
    )
    started_at = serializers.DateTimeField(help_text="Its first event.")
    last_at = serializers.DateTimeField(help_text="Its last event so far.")
    ended_at = serializers.DateTimeField(allow_null=True, help_text="Its last event, once it has ended.")
    duration_ms = serializers.IntegerField(help_text="From its first to its last event.")
    idle_ms = serializers.IntegerField(help_text="Since its last event.")
    models = serializers.ListField(child=serializers.CharField())
    metrics = _SessionMetricsSerializer()


class _TimelineEntrySerializer(serializers.Serializer):  # type: ignore[type-arg]
    offset_ms = serializers.IntegerField(help_text="From the session's first event to this one.")
    duration_ms = serializers.IntegerField(allow_null=True, help_text="How long the call or the tool took.")
    kind = serializers.ChoiceField(["call", "tool", "other"])
    turn = serializers.IntegerField(
        help_text="Which model call of the session this is, or follows: tool calls of a turn are those between its"
        " model call and the next. 0 before the first."
    )
    event = EventSerializer()


class _TimelineSerializer(serializers.Serializer):  # type: ignore[type-arg]
    data = _TimelineEntrySerializer(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)


class SessionDetailSerializer(SessionSerializer):
    timeline = _TimelineSerializer(help_text="Its raw events in order, as long as they are kept; by pages.")


class Events(OfUsage):
    renderer_classes = (PageRenderer,)
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}
    order = ("-timestamp", "-event_id")

    @extend_schema(
        tags=["Usage"],
        responses={200: page_of(EventSerializer, "EventPage")},
        parameters=parameters("Events", [*EVENT_FILTERS, "tag:<name>"]),
    )
    def get(self, request: Request) -> Response:
        """Search raw events, newest first. A socket at `/ws/usage/events` shows new ones as they are counted.

        Who was given `usage.read` on single projects alone sees the events of these.
        """
        params = request.query_params
        search = read_search(params, EVENT_FILTERS, tags=True)
        rows = event_search(
            org_id=require_org_id(), filters=narrowed(search.filters, self.given), limit=search.limit + 1,
            start=search.start, end=search.end,
            after=after(params, self.order, UUID),
        )  # fmt: skip
        record_read(what="raw events", org_id=self.org_id)
        return page(
            [row.body for row in rows],
            search.limit,
            lambda last: encode_cursor([rows[last].at.isoformat(), rows[last].event_id], order=self.order),
        )


class SessionList(OfUsage):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}
    order = ("-last_at", "-number")

    @extend_schema(
        tags=["Usage"], responses={200: page_of(SessionSerializer, "SessionPage")},
        parameters=parameters("Sessions whose last event is", [*SESSION_FILTERS, "state"]),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Sessions, the latest first.

        Who was given `usage.read` on single projects alone sees of each session what is of these: its sums, times and
        models are of nothing else.
        """
        params = request.query_params
        search = read_search(params, [*SESSION_FILTERS, "state"], tags=False)
        states = search.filters.pop("state", list(SESSION_STATES))
        if unknown := set(states) - set(SESSION_STATES):
            detail = f"{', '.join(sorted(unknown))}: not one of {', '.join(SESSION_STATES)}"
            problem = {"pointer": "filter[state]", "detail": detail}
            raise ValidationFailed("Some parameters are not valid", errors=[problem])  # type: ignore[list-item]
        filters = narrowed(search.filters, self.given)
        rows = session_list(
            org_id=require_org_id(), filters=filters, limit=search.limit + 1, start=search.start, end=search.end,
            after=after(params, self.order, int), states=states, idle=idle_limit(),
            projects=only_of(filters, self.given),
        )  # fmt: skip
        return page(
            [row.body for row in rows],
            search.limit,
            lambda last: encode_cursor([rows[last].at.isoformat(), rows[last].number], order=self.order),
        )


class SessionDetail(OfUsage):
    capabilities = {"GET": "usage.read"}
    scopes = {"GET": "read"}
    # Where a page of the timeline ends, and how many model calls there were up to there.
    order = ("timestamp", "event_id", "turn")

    @extend_schema(
        tags=["Usage"],
        parameters=[
            OpenApiParameter("session_id", OpenApiTypes.STR, OpenApiParameter.PATH),
            *page_parameters(),
        ],
        responses={200: SessionDetailSerializer},
    )
    def get(self, request: Request, session_id: str) -> Response:
        """A session and its timeline: all of its events in order, tool calls between the model calls they follow."""
        org_id, params = require_org_id(), request.query_params
        limit = read_limit(params)
        behind, turn = self._behind(params.get("cursor"))
        found = session_get(org_id=org_id, session_id=session_id, idle=idle_limit(), projects=self.given)
        if found is None:
            raise NotFound("There is no such session")
        rows = session_events(
            org_id=org_id, session_id=session_id, start=found.started_at, end=found.at, limit=limit + 1, after=behind,
            projects=self.given,
        )  # fmt: skip
        data = _timeline(found, rows[:limit], turn)
        cursor = None
        if len(rows) > limit:
            last = rows[limit - 1]
            cursor = encode_cursor(
                [last.at.isoformat(), last.event_id, data[-1]["turn"] if data else turn], order=self.order
            )
        record_read(what="raw events", org_id=self.org_id)
        return Response({**found.body, "timeline": {"data": data, "next_cursor": cursor}})

    def _behind(self, raw: str | None) -> tuple[tuple[datetime, UUID] | None, int]:
        if not raw:
            return None, 0
        at, event_id, turn = decode_cursor(raw, order=self.order)
        return (datetime.fromisoformat(at or ""), UUID(event_id or "")), int(turn or 0)


def _timeline(session: SessionRow, rows: Iterable[EventRow], turn: int) -> list[dict[str, Any]]:
    data = []
    for row in rows:
        kind = kind_of(row.body)
        turn += kind == "call"
        data.append(
            {
                "offset_ms": (row.at - session.started_at) // timedelta(milliseconds=1),
                "duration_ms": row.body["latency_ms"],
                "kind": kind,
                "turn": turn,
                "event": row.body,
            }
        )
    return data


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The usage tracker's share of ``/metrics``."""
    check_metrics_access(request)
    return HttpResponse(exposition("mindweave_usage"), content_type=CONTENT_TYPE)
