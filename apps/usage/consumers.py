"""The socket ``/ws/usage/events``: an organisation's new events, as they are counted.

Messages are JSON objects with a ``type`` (docs/live-events.md). The socket asks once a second whether it may go on.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError

from apps.core.context import current
from apps.core.errors import MindWeaveError, Unavailable, ValidationFailed
from apps.core.groups import hear_groups
from apps.core.ratelimit import Limit, enforce
from apps.core.tenancy import org_scope
from apps.usage.api.search import read_filters
from apps.usage.granted import narrowed
from apps.usage.live import LiveTail, News, org_group, stamp
from apps.usage.live_access import Listener, listener_of, query_of
from apps.usage.telemetry import LIVE_DROPPED, LIVE_SENT, LIVE_SOCKETS

__all__ = ["EventsConsumer"]

logger = logging.getLogger(__name__)

ASK_AGAIN_SECONDS: Final = 1.0
# The least time between two looks, and the longest: a look that nobody asked for, should a message have been lost.
LEAST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 2.0
ALIVE_SECONDS: Final = 15.0
MAX_SOCKETS: Final = 200
HANDSHAKES: Final = Limit("live", 60, 60)
# A socket is closed with 4000 and the HTTP status that a request would have had.
CLOSE_BASE: Final = 4000

_open: set["EventsConsumer"] = set()


class EventsConsumer(AsyncWebsocketConsumer):
    """One listener."""

    listener: Listener
    # The filters of the handshake, before they are narrowed to what the listener was given.
    asked: dict[str, list[str]]
    tail: LiveTail
    tasks: tuple[asyncio.Task[None], ...] = ()
    has_ended = False
    # What Redis says is heard in a task of ours, which it may leave and come back to.
    channel_layer_alias = "none"

    async def connect(self) -> None:
        await self.accept()
        try:
            await database_sync_to_async(self._begin)()
        except MindWeaveError as error:
            await self._refuse(error)
            return
        except DatabaseError:
            await self._refuse(Unavailable("The database cannot be reached; try again", retry_after=2))
            return
        _open.add(self)
        LIVE_SOCKETS.set(len(_open))
        self.moved, self.lock = asyncio.Event(), asyncio.Lock()
        await self._tell(
            type="ready",
            cursor=self.tail.cursor,
            resumed=self.resumed,
            filters=self.tail.filters,
            events_per_second=settings.USAGE_LIVE_EVENTS_A_SECOND,
        )
        works = (self._show_news, self._hear_of_news, self._ask_again, self._keep_alive)
        self.tasks = tuple(asyncio.create_task(self._guarded(work)) for work in works)

    async def disconnect(self, code: int) -> None:
        await self._end()

    async def _end(self) -> None:
        """Listen no more; a socket that the client never closes is forgotten all the same."""
        self.has_ended = True
        me = asyncio.current_task()
        for task in self.tasks:
            if task is not me:
                task.cancel()
        self.tasks = ()
        _open.discard(self)
        LIVE_SOCKETS.set(len(_open))

    def _begin(self) -> None:
        """Look at the handshake: who, which events, from where on."""
        self.listener = listener_of(self.scope)
        if len(_open) >= MAX_SOCKETS:
            raise Unavailable("Too many live sockets are open; try again later", retry_after=30)
        enforce(HANDSHAKES, self.listener.identity)
        params = query_of(self.scope)
        with org_scope(self.listener.org_id):
            self.asked = read_filters(params, others={"cursor", "org"})
        cursor = params.get("cursor")
        try:
            self.tail = LiveTail(self.listener.org_id, narrowed(self.asked, self.listener.given), cursor)
        except ValueError as error:
            raise ValidationFailed("cursor is not valid") from error
        self.resumed = cursor is not None

    # ---------------------------------------------------------------- what the client says
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            kind = orjson.loads(text_data or "").get("type")
        except (orjson.JSONDecodeError, AttributeError):
            kind = None
        if not self.tasks:
            return
        if kind == "ping":
            await self._tell(type="pong", at=stamp())
        elif kind == "pause":
            async with self.lock:
                self.tail.pause()
            await self._tell(type="paused", cursor=self.tail.cursor)
        elif kind == "resume":
            async with self.lock:
                held = self.tail.resume()
                await self._tell(type="resumed")
                if held:
                    await self._show(held)
        else:
            await self._complain(ValidationFailed("Send ping, pause or resume as a type", code="unknown_message"))

    # ---------------------------------------------------------------- work
    async def _show_news(self) -> None:
        more = True
        while True:
            if not more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.moved.wait(), MOST_SECONDS)
            self.moved.clear()
            async with self.lock:
                started = time.monotonic()
                news = await database_sync_to_async(self.tail.look)()
                took = time.monotonic() - started
                if news:
                    await self._show(news)
            more = news.more
            # All sockets share a thread for the database: none takes more than a quarter of it.
            await asyncio.sleep(max(LEAST_SECONDS, 3 * took))

    async def _hear_of_news(self) -> None:
        """Hear that events of the organisation were counted. It only hurries a look, so Redis may come and go."""

        async def heard(message: dict[str, Any]) -> None:
            self.moved.set()

        # What was counted before it was joined nobody may have told of, since nobody listened.
        await hear_groups(
            [org_group(self.listener.org_id)], joined=self.moved.set, heard=heard, has_ended=lambda: self.has_ended
        )

    async def _show(self, news: News) -> None:
        LIVE_SENT.inc(len(news.data))
        LIVE_DROPPED.inc(news.dropped)
        if news.gap:
            await self._tell(type="gap", detail="Events came that were not read in time; search them by GET /v1/events")
        await self._tell(type="events", data=news.data, dropped=news.dropped, cursor=self.tail.cursor)

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
            listener = await database_sync_to_async(listener_of)(self.scope, org_id=self.listener.org_id)
            if listener.given != self.listener.given:
                # Other rights than before: other events, or none of what was asked for, which ends it.
                filters = narrowed(self.asked, listener.given)
                async with self.lock:
                    self.tail.narrow(filters, listener.given)
                self.listener = listener

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(ALIVE_SECONDS)
            await self._tell(type="alive", at=stamp(), cursor=self.tail.cursor)

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """A work that is refused or fails ends the socket; a database that is away is asked again."""
        while True:
            try:
                await work()
                return
            except MindWeaveError as error:
                await self._refuse(error)
                return
            except DatabaseError:
                await asyncio.sleep(1.0)
            except Exception:
                logger.exception("a live socket failed")
                await self._refuse(MindWeaveError())
                return

    async def _refuse(self, error: MindWeaveError) -> None:
        """Say why, and close."""
        await self._complain(error)
        await self.close(CLOSE_BASE + error.status)
        await self._end()

    async def _complain(self, error: MindWeaveError) -> None:
        problem = error.as_problem(correlation_id=current().correlation_id)
        await self._tell(type="error", problem=problem)

    async def _tell(self, **message: Any) -> None:
        await self.send(text_data=orjson.dumps(message).decode())
