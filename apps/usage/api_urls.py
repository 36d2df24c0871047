"""The usage engine's API."""

from django.urls import path

from apps.usage.api import ingest, otlp, read
from apps.usage.api.dispatch import by_method

urlpatterns = [
    path("v1/events", by_method(read=read.Events.as_view(), write=ingest.events), name="usage-events"),
    path("v1/track", ingest.track, name="usage-track"),
    path("v1/health", ingest.health, name="usage-health"),
    path("v1/metrics", read.metrics, name="usage-metrics"),
    path("v1/sessions", read.SessionList.as_view(), name="usage-sessions"),
    path("v1/sessions/<path:session_id>", read.SessionDetail.as_view(), name="usage-session"),
    path("otlp/v1/logs", otlp.logs, name="otlp-logs"),
    path("otlp/v1/metrics", otlp.metrics, name="otlp-metrics"),
    path("otlp/v1/traces", otlp.traces, name="otlp-traces"),
]
