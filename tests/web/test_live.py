"""The live socket: who may listen, to whom, and when it is closed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import connections

from apps.accounts.services import remove_member
from apps.analytics import live
from apps.events.contracts import Envelope
from apps.identity.models import User
from tests.web.conftest import Cast, event, make_cast
from tests.web.sockets import Socket

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest_asyncio.fixture(autouse=True)
async def _no_connection_left() -> AsyncIterator[None]:
    """The worker thread of the sockets keeps a connection, which would hold the test database."""
    yield
    await sync_to_async(connections.close_all)()


def moved(org_id: UUID) -> Envelope:
    return Envelope.from_dict(
        {
            "id": str(org_id), "type": "usage.batch_ingested", "source": "usage",
            "timestamp": "2026-11-23T10:00:00+00:00",
            "version": "1.0", "correlation_id": str(org_id), "data": {}, "metadata": {"org_id": str(org_id)},
        },
        topic="usage.events", key=str(org_id),
    )  # fmt: skip


async def tell(org_id: UUID) -> None:
    await sync_to_async(live.on_batch)(moved(org_id))


@pytest.mark.asyncio
async def test_a_member_hears_the_figures_at_once_and_again_when_they_move(cast: Cast, send: Any) -> None:
    one = await Socket(cast.owner, cast.org.slug).open()
    first = await one.news()
    assert first["events"]["text"] == "0"
    await sync_to_async(send)(event(), event())
    await tell(cast.org.id)
    second = await one.news()
    assert second["events"]["text"] == "2"
    assert second["spend"]["exact"] == "$0.003"
    await one.close()


@pytest.mark.asyncio
async def test_a_socket_of_one_organisation_never_hears_another(cast: Cast, send: Any) -> None:
    mine = await Socket(cast.owner, cast.org.slug).open()
    theirs = await Socket(cast.stranger, cast.other.slug).open()
    await mine.news()
    await theirs.news()
    await sync_to_async(send)(event())
    await tell(cast.org.id)
    assert (await mine.news())["events"]["text"] == "1"
    assert await theirs.is_silent()
    await mine.close()
    await theirs.close()


@pytest.mark.asyncio
async def test_repeated_news_without_change_are_not_sent(cast: Cast) -> None:
    one = await Socket(cast.owner, cast.org.slug).open()
    await one.news()
    for _ in range(20):
        await tell(cast.org.id)
    assert await one.is_silent()
    await one.close()


@pytest.mark.asyncio
async def test_a_storm_of_news_is_four_messages_a_second_at_most(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    def snapshot(org_id: UUID, timezone: str) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        return {"n": looks}

    monkeypatch.setattr("apps.analytics.consumers.snapshot", snapshot)
    one = await Socket(cast.owner, cast.org.slug).open()
    began = asyncio.get_running_loop().time()
    layer = get_channel_layer()
    while asyncio.get_running_loop().time() - began < 1.0:
        await layer.group_send(live.org_group(cast.org.id), {"type": "usage.moved"})
        await asyncio.sleep(0.01)
    spent = asyncio.get_running_loop().time() - began
    assert looks <= spent / live.SNAPSHOT_SECONDS + 1
    await one.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("who", ["nobody", "stranger"])
async def test_others_are_turned_away(cast: Cast, who: str) -> None:
    expected = 4401 if who == "nobody" else 4403
    for org in (cast.org.slug, "never-was"):
        assert await (await Socket(getattr(cast, who), org).open()).closed() == expected


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "origin", ["https://evil.test", "null", "", "http://testserver.evil.test", "file://testserver"]
)
async def test_a_page_of_another_site_gets_no_handshake(cast: Cast, origin: str) -> None:
    assert await Socket(cast.owner, cast.org.slug, origin=origin).shake() == "websocket.close"


@pytest.mark.asyncio
async def test_who_loses_the_membership_is_cut_off(cast: Cast) -> None:
    one = await Socket(cast.viewer, cast.org.slug).open()
    await one.news()
    vic = await sync_to_async(lambda: User.objects.get(email="vic@loom.test").pk)()
    await sync_to_async(remove_member)(org_id=cast.org.id, user_id=vic)
    envelope = moved(cast.org.id)
    await sync_to_async(live.on_access_ended)(
        Envelope.from_dict(
            {**envelope.as_dict(), "type": "member.removed", "data": {"user_id": str(vic)}}, topic="audit.log", key="k"
        )
    )
    assert await one.closed() == 4403


@pytest.mark.asyncio
async def test_who_signs_out_is_cut_off_at_the_next_look(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.analytics.consumers._ASK_AGAIN_SECONDS", 0.05)
    one = await Socket(cast.owner, cast.org.slug).open()
    await one.news()
    await sync_to_async(cast.owner.logout)()
    assert await one.closed() == 4401
