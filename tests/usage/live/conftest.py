"""A live socket, in process, and an organisation that sends."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.db import connections
from django.test import Client

from apps.identity.models import User
from apps.projects import services as projects
from apps.projects.selectors import key_authenticate
from apps.usage.contracts import EventIn
from apps.usage.drain.shard import drain_now
from apps.usage.live import org_group
from apps.usage.services import ingest
from mindweave.asgi import application
from tests.cast import Cast, make_cast
from tests.usage.engine.conftest import _fresh_caches, committed  # noqa: F401 - fixtures

__all__ = ["Live", "key_of", "session_of", "tell"]


class Live:
    """A client of ``/ws/usage/events``."""

    def __init__(self, headers: dict[str, str] | None = None, *, client: str = "192.0.2.1", **query: str) -> None:
        sent = {"host": "testserver", **(headers or {})}
        scope = {
            "type": "websocket", "path": "/ws/usage/events", "query_string": urlencode(query).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "subprotocols": [], "root_path": "", "client": (client, 5000),
        }  # fmt: skip
        self.app = ApplicationCommunicator(application, scope)

    async def open(self) -> dict[str, Any]:
        """Shake hands; what the server says first."""
        await self.app.send_input({"type": "websocket.connect"})
        assert (await self.app.receive_output(5))["type"] == "websocket.accept"
        return await self.hear()

    async def hear(self, kind: str | None = None, *, seconds: float = 10) -> dict[str, Any]:
        """The next message, which must be of ``kind``."""
        message = await self.app.receive_output(seconds)
        assert message["type"] == "websocket.send", message
        said: dict[str, Any] = json.loads(message["text"])
        assert kind is None or said["type"] == kind, said
        return said

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next so many events, in however many messages they come, none of them dropped."""
        found: list[dict[str, Any]] = []
        while len(found) < count:
            said = await self.hear("events")
            assert said["dropped"] == 0
            found += said["data"]
        return found

    async def closed(self) -> int:
        """The code that the server closes with, after whatever it still says."""
        while (message := await self.app.receive_output(10))["type"] == "websocket.send":
            pass
        await self.close()
        return int(message["code"])

    async def say(self, kind: Any) -> None:
        await self.app.send_input({"type": "websocket.receive", "text": json.dumps({"type": kind})})

    async def is_silent(self, seconds: float = 0.6) -> bool:
        return bool(await self.app.receive_nothing(seconds))

    async def close(self) -> None:
        await self.app.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.app.wait(5)


def session_of(person: Any) -> dict[str, str]:
    """The handshake's headers of a page of ours that somebody has open."""
    client = Client()
    client.force_login(User.objects.get(pk=person.id))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    return {"origin": "http://testserver", "cookie": f"{settings.SESSION_COOKIE_NAME}={cookie}"}


def key_of(cast: Cast, *scopes: str) -> str:
    """The token of a key of the cast's project."""
    made = projects.create_api_key(
        org_id=cast.org.id, project_id=cast.project.id, name="k", scopes=scopes, rate_limit_per_minute=0
    )
    return made[1]


@pytest.fixture
def cast(committed: None) -> Cast:  # noqa: F811 - real commits
    return make_cast()


@pytest.fixture
def send(cast: Cast) -> Callable[..., Any]:
    """Send events as the organisation, count them, and say so as the bus would."""
    token = key_of(cast, "ingest", "backfill")

    async def send(*events: EventIn) -> None:
        await sync_to_async(_count)(token, events)
        await tell(cast.org.id)

    return send


def _count(token: str, events: Any) -> None:
    key = key_authenticate(token)
    assert key is not None
    result = ingest(key=key, events=list(events))
    assert result.rejected == []
    drain_now()


async def tell(org_id: Any) -> None:
    """What the bus's handler says when events of an organisation were counted."""
    from channels.layers import get_channel_layer

    await get_channel_layer().group_send(org_group(org_id), {"type": "usage.moved"})


@pytest.fixture
def other_sends(cast: Cast) -> Callable[..., Any]:
    """The same for the organisation of Charlie."""
    _, token = projects.create_api_key(
        org_id=cast.elsewhere.id, project_id=cast.their_project.id, name="k", scopes=("ingest",)
    )

    async def send(*events: EventIn) -> None:
        await sync_to_async(_count)(token, events)
        await tell(cast.elsewhere.id)

    return send


@pytest_asyncio.fixture(autouse=True)
async def _no_connection_left() -> AsyncIterator[None]:
    """The worker thread of the sockets keeps a connection, which would hold the test database."""
    yield
    await sync_to_async(connections.close_all)()
