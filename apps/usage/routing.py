"""Sockets of the usage engine. They look at who opens them by themselves (:mod:`apps.usage.live_access`)."""

from django.urls import path

from apps.usage.consumers import EventsConsumer

__all__ = ["websocket_urlpatterns"]

websocket_urlpatterns = [path("ws/usage/events", EventsConsumer.as_asgi())]
