"""The usage engine's API."""

from django.urls import path

from apps.usage.api import ingest, otlp

urlpatterns = [
    path("v1/events", ingest.events, name="usage-events"),
    path("v1/track", ingest.track, name="usage-track"),
    path("v1/health", ingest.health, name="usage-health"),
    path("otlp/v1/logs", otlp.logs, name="otlp-logs"),
    path("otlp/v1/metrics", otlp.metrics, name="otlp-metrics"),
    path("otlp/v1/traces", otlp.traces, name="otlp-traces"),
]
