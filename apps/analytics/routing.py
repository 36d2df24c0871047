"""Sockets of MindWeave. Only pages of our own origin may open one; a session is needed (see the consumer)."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.security.websocket import WebsocketDenier
from django.urls import path

from apps.analytics.consumers import LiveConsumer
from apps.core.sockets import is_same_origin

__all__ = ["SameOriginOnly", "websocket_urlpatterns"]

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class SameOriginOnly:
    """Refuse a handshake from another site: its ``Origin`` must be the host it asks, or the public address."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if is_same_origin(scope):
            await self.application(scope, receive, send)
        else:
            await WebsocketDenier()(scope, receive, send)


websocket_urlpatterns = [path("ws/live", SameOriginOnly(LiveConsumer.as_asgi()))]  # type: ignore[arg-type]
