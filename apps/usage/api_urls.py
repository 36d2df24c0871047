"""The usage engine's API."""

from django.urls import path

from apps.usage.api import event, imports, ingest, otlp, read
from apps.usage.api.dispatch import by_method

urlpatterns = [
    path("v1/events", by_method(read=read.Events.as_view(), write=ingest.events), name="usage-events"),
    path("v1/events/<uuid:event_id>", event.EventDetail.as_view(), name="usage-event"),
    path("v1/reprices", event.RepriceList.as_view(), name="usage-reprices"),
    path("v1/reprices/<uuid:reprice_id>", event.RepriceDetail.as_view(), name="usage-reprice"),
    path("v1/imports", imports.ImportList.as_view(), name="usage-imports"),
    path("v1/imports/<uuid:import_id>", imports.ImportDetail.as_view(), name="usage-import"),
    path("v1/imports/<uuid:import_id>/errors", imports.ImportErrors.as_view(), name="usage-import-errors"),
    path("v1/imports/<uuid:import_id>/cancel", imports.ImportCancel.as_view(), name="usage-import-cancel"),
    path("v1/imports/<uuid:import_id>/resume", imports.ImportResume.as_view(), name="usage-import-resume"),
    path("v1/track", ingest.track, name="usage-track"),
    path("v1/health", ingest.health, name="usage-health"),
    path("v1/metrics", read.metrics, name="usage-metrics"),
    path("v1/sessions", read.SessionList.as_view(), name="usage-sessions"),
    path("v1/sessions/<path:session_id>", read.SessionDetail.as_view(), name="usage-session"),
    path("otlp/v1/logs", otlp.logs, name="otlp-logs"),
    path("otlp/v1/metrics", otlp.metrics, name="otlp-metrics"),
    path("otlp/v1/traces", otlp.traces, name="otlp-traces"),
]
