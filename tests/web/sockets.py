"""A WebSocket client of the ASGI application, in process."""

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.test import Client

from mindweave.asgi import application

__all__ = ["Socket"]


class Socket:
    """One socket of a browser's session, to ``/ws/live?org=<slug>``."""

    def __init__(self, client: Client, org: str, *, origin: str = "http://testserver") -> None:
        headers = [(b"origin", origin.encode()), (b"host", b"testserver")]
        if cookie := client.cookies.get(settings.SESSION_COOKIE_NAME):
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={cookie.value}".encode()))
        scope = {
            "type": "websocket", "path": "/ws/live", "query_string": f"org={org}".encode(), "headers": headers,
            "subprotocols": [], "root_path": "",
        }  # fmt: skip
        self.app = ApplicationCommunicator(application, scope)

    async def open(self) -> "Socket":
        """Shake hands; fails where that is refused."""
        assert await self.shake() == "websocket.accept"
        return self

    async def shake(self) -> str:
        """What the server says to the handshake."""
        await self.app.send_input({"type": "websocket.connect"})
        return str((await self.app.receive_output(5))["type"])

    async def news(self) -> Any:
        message = await self.app.receive_output(5)
        assert message["type"] == "websocket.send", message
        return json.loads(message["text"])

    async def closed(self) -> int:
        """The code that the server closes with."""
        message = await self.app.receive_output(5)
        assert message["type"] == "websocket.close", message
        return int(message["code"])

    async def is_silent(self, seconds: float = 0.6) -> bool:
        return bool(await self.app.receive_nothing(seconds))

    async def close(self) -> None:
        await self.app.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.app.wait(5)
