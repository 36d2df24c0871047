"""The socket ``/ws/live?org=<slug>``: today's figures of one organisation, as they move.

A person with a cookie session listens to one organisation of theirs. The socket hears its own organisation's group
only, sends at most four messages a second, and asks again every half minute, and whenever a membership or a sign-in
ends, whether it may go on: 4401 signed out, 4403 not a member (or an organisation that does not exist).
"""

import asyncio
import contextlib
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError

from apps.accounts import selectors as accounts
from apps.analytics.live import SNAPSHOT_SECONDS, org_group, snapshot, user_group
from apps.core.groups import hear_groups
from apps.identity.book import forget_sessions, sign_in_of_session
from apps.notify.live import news_group

__all__ = ["LiveConsumer"]

SIGNED_OUT, NOT_A_MEMBER = 4401, 4403
_ASK_AGAIN_SECONDS = 30.0
# Without news, a look now and then lets the rate fall back to zero.
_QUIET_SECONDS = 10.0
# The first figures are read once news is heard, or without that after so long: then Redis is away.
_HEARD_WITHIN = 1.0
# The database is asked again so often while it is away.
_AGAIN_SECONDS = 1.0


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One socket of one person, watching one organisation."""

    org_id: UUID | None = None
    has_ended = False
    # What Redis says is heard in a task of ours, which it may leave and come back to.
    channel_layer_alias = "none"

    async def connect(self) -> None:
        await self.accept()
        refusal = await self._refusal()
        if refusal:
            await self.close(refusal)
            return
        assert self.org_id is not None
        self.moved, self.joined = asyncio.Event(), asyncio.Event()
        self.tasks = [asyncio.create_task(self._hear())]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.joined.wait(), _HEARD_WITHIN)
        self.moved.set()
        self.tasks += [asyncio.create_task(self._send_news()), asyncio.create_task(self._ask_again())]

    async def disconnect(self, code: int) -> None:
        self.has_ended = True
        for task in getattr(self, "tasks", []):
            task.cancel()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Nothing is asked over this socket; what comes is left unanswered."""

    # ---------------------------------------------------------------- messages of the groups
    async def _hear(self) -> None:
        assert self.org_id is not None
        groups = [org_group(self.org_id), user_group(self.scope["user"].pk), news_group(self.org_id)]
        await hear_groups(groups, joined=self._on_joined, heard=self.dispatch, has_ended=lambda: self.has_ended)

    def _on_joined(self) -> None:
        self.joined.set()
        # What moved before, nobody heard.
        self.moved.set()

    async def usage_moved(self, message: dict[str, Any]) -> None:
        """The organisation's figures moved."""
        self.moved.set()

    async def notify_news(self, message: dict[str, Any]) -> None:
        """Somebody in the organisation was told something: the page asks whether it is for its reader."""
        await self.send_json({"kind": "notifications"})

    async def access_changed(self, message: dict[str, Any]) -> None:
        """A membership or a sign-in of this person ended."""
        forget_sessions()
        if refusal := await self._refusal():
            await self.close(refusal)

    # ---------------------------------------------------------------- work
    async def _send_news(self) -> None:
        """Send the newest figures: the first at once, then at most one in a quarter of a second."""
        last: dict[str, Any] | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.moved.wait(), _QUIET_SECONDS)
            self.moved.clear()
            try:
                news = await database_sync_to_async(snapshot)(self.org_id, self.timezone)
            except DatabaseError:
                # It is looked at again when the database is back.
                self.moved.set()
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if last is None or {**news, "as_of": None} != {**last, "as_of": None}:
                await self.send_json(news)
                last = news
            await asyncio.sleep(SNAPSHOT_SECONDS)

    async def _ask_again(self) -> None:
        while True:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
            try:
                refusal = await self._refusal()
            except DatabaseError:
                continue
            if refusal:
                await self.close(refusal)
                return

    async def _refusal(self) -> int | None:
        """Why this socket may not listen, as a close code; None where it may. The session is read anew each time."""
        key = self.scope["session"].session_key
        if not key:
            return SIGNED_OUT
        session = _sessions().SessionStore(key)
        user = await get_user({"session": session})
        if not user.is_authenticated or await self._has_ended(session):
            return SIGNED_OUT
        refusal: int | None = await database_sync_to_async(self._membership)(user.pk)
        return refusal

    @database_sync_to_async
    def _has_ended(self, session: Any) -> bool:
        """Whether the session's sign-in is over; an open socket is no use of it."""
        return sign_in_of_session(session, used=False) is None

    def _membership(self, user_id: UUID) -> int | None:
        slug = parse_qs(self.scope["query_string"].decode("latin-1")).get("org", [""])[0]
        found = accounts.org_for_web(slug=slug, user_id=user_id)
        if found is None or "usage.read" not in found[1].capabilities:
            return NOT_A_MEMBER
        if self.org_id is not None and self.org_id != found[0].id:
            return NOT_A_MEMBER
        self.org_id, self.timezone = found[0].id, found[0].timezone
        return None


def _sessions() -> Any:
    return import_module(settings.SESSION_ENGINE)
