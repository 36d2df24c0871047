"""The usage engine's API."""

from django.urls import path

from apps.usage.api import ingest

urlpatterns = [
    path("v1/events", ingest.events, name="usage-events"),
    path("v1/track", ingest.track, name="usage-track"),
    path("v1/health", ingest.health, name="usage-health"),
]
