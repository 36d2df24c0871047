"""Sockets of MindWeave. Only pages of our own origin may open one; a session is needed (see the consumer)."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.urls import path

from apps.analytics.consumers import LiveConsumer

__all__ = ["SameOriginOnly", "websocket_urlpatterns"]

Application = Callable[[dict[str, Any], Any, Any], Awaitable[None]]


class SameOriginOnly:
    """Refuse a handshake from another site: its ``Origin`` must be the host it asks, or the public address."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if _same_origin(scope):
            await self.application(scope, receive, send)
        else:
            await WebsocketDenier()(scope, receive, send)


def _same_origin(scope: dict[str, Any]) -> bool:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    origin = urlsplit(headers.get(b"origin", ""))
    if origin.scheme not in {"http", "https"} or not origin.netloc:
        return False
    return origin.netloc.lower() in {headers.get(b"host", "").lower(), urlsplit(settings.PUBLIC_URL).netloc.lower()}


websocket_urlpatterns = [path("ws/live", SameOriginOnly(LiveConsumer.as_asgi()))]  # type: ignore[arg-type]
