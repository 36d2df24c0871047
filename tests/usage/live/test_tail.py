"""What is heard: each new event once, in the JSON of the list, at a bounded rate."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from apps.usage.drain.merge import merge_chunks
from apps.usage.live import HELD, LiveTail
from apps.usage.services import register_tag_key
from tests.cast import Api, Cast
from tests.usage.engine.conftest import moment, typed
from tests.usage.live.conftest import Live, session_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]


async def listening(cast: Cast, **query: str) -> Live:
    live = Live(await sync_to_async(session_of)(cast.dora), **query)
    ready = await live.open()
    assert ready["type"] == "ready", ready
    return live


def ids(events: list[Any]) -> list[str]:
    return [event["event_id"] if isinstance(event, dict) else event.event_id for event in events]


async def test_an_event_is_shown_as_the_list_shows_it(cast: Cast, send: Any) -> None:
    await send(typed())
    live = await listening(cast)
    sent = typed(
        session_id="s", request_id="req_1", mcp_server="files", metadata=b'{"n": 1}', stop_reason="end_turn",
        cost_usd="0.25",
    )  # fmt: skip
    await send(sent)
    (heard,) = await live.events(1)
    body = await sync_to_async(lambda: Api(cast.dora).get("/v1/events", {"limit": "1"}).json())()
    assert body["data"] == [heard]
    assert heard["event_id"] == sent.event_id
    await live.close()


async def test_each_event_comes_once_however_they_come(cast: Cast, send: Any) -> None:
    live = await listening(cast)
    sent = []
    for n in range(6):
        # Late ones and many at once, and the same ones again.
        batch = [typed(timestamp=moment(days=n, seconds=k)) for k in range(n * 7 + 1)]
        await send(*batch, *sent[:3])
        sent += batch
    heard = await live.events(len(sent))
    assert sorted(ids(heard)) == sorted(ids(sent))
    assert await live.is_silent(0.5)
    await live.close()


async def test_without_the_message_it_comes_all_the_same(
    cast: Cast, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.consumers.MOST_SECONDS", 0.2)
    monkeypatch.setattr("tests.usage.live.conftest.org_group", lambda org_id: "live.org.nobody")
    live = await listening(cast)
    one = typed()
    await send(one)
    assert ids(await live.events(1)) == [one.event_id]
    await live.close()


async def test_redis_may_go_and_come_back(cast: Cast, send: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        async def new_channel(self) -> str:
            raise ConnectionError("no Redis")

    monkeypatch.setattr("apps.usage.consumers.MOST_SECONDS", 0.2)
    monkeypatch.setattr("apps.core.groups.get_channel_layer", Away)
    live = await listening(cast)
    await send(one := typed())
    assert ids(await live.events(1)) == [one.event_id]
    monkeypatch.undo()
    monkeypatch.setattr("apps.usage.consumers.MOST_SECONDS", 60)
    # Once it is back a message is enough.
    assert await live.is_silent(1.5)
    await send(other := typed())
    assert ids(await live.events(1)) == [other.event_id]
    await live.close()


async def test_merging_neither_repeats_nor_loses(cast: Cast, send: Any) -> None:
    live = await listening(cast)
    sent = [typed() for _ in range(20)]
    for one in sent:
        await send(one)
    heard = await live.events(20)
    assert await sync_to_async(merge_chunks)() > 0
    more = typed()
    await send(more)
    heard += await live.events(1)
    assert ids(heard) == [*ids(sent), more.event_id]
    assert await live.is_silent(0.4)
    await live.close()


async def test_filters_are_those_of_the_list(cast: Cast, send: Any) -> None:
    await sync_to_async(register_tag_key)(org_id=cast.org.id, key="task")
    queries: dict[str, dict[str, str]] = {
        "model": {"filter[model]": "claude-haiku-5-5"},
        "session": {"filter[session_id]": "new one"},
        "tag": {"filter[tag:task]": "review"},
        "status": {"filter[status]": "error", "filter[model]": "claude-opus-5"},
        "request": {"filter[request_id]": "req_7"},
        "error": {"filter[error_type]": "overloaded_error"},
    }
    sockets = {name: await listening(cast, **query) for name, query in queries.items()}
    wanted = {
        "model": typed(model="claude-haiku-5-5"),
        "session": typed(session_id="new one"),
        "tag": typed(metadata=b'{"task": "review"}'),
        "status": typed(status="error"),
        "request": typed(request_id="req_7"),
        "error": typed(status="error", error_type="overloaded_error", model="claude-sonnet-5"),
    }
    # Half a minute later with names that were not known when the sockets were opened.
    await send(*wanted.values(), typed(model="claude-sonnet-5"))
    for name, socket in sockets.items():
        assert ids(await socket.events(1)) == [wanted[name].event_id], name
        assert await socket.is_silent(0.2), name
        await socket.close()


async def test_a_filter_that_is_not_known_is_refused(cast: Cast) -> None:
    headers = await sync_to_async(session_of)(cast.dora)
    for query in ({"filter[colour]": "red"}, {"limit": "5"}, {"cursor": "made-up"}):
        live = Live(headers, **query)
        said = await live.open()
        assert (said["type"], said["problem"]["status"]) == ("error", 400)
        assert await live.closed() == 4400


async def test_one_goes_on_where_one_left_off(cast: Cast, send: Any) -> None:
    live = await listening(cast)
    first, between, last = typed(), [typed() for _ in range(3)], typed()
    await send(first)
    said = await live.hear("events")
    assert ids(said["data"]) == [first.event_id]
    await live.close()
    await send(*between)
    again = Live(await sync_to_async(session_of)(cast.dora), cursor=said["cursor"])
    assert (await again.open())["resumed"] is True
    assert sorted(ids(await again.events(3))) == sorted(ids(between))
    await send(last)
    assert ids(await again.events(1)) == [last.event_id]
    await again.close()


async def test_who_was_away_too_long_is_told_of_the_gap(cast: Cast, send: Any) -> None:
    live = await listening(cast)
    await live.say("pause")
    cursor = (await live.hear("paused"))["cursor"]
    await live.close()
    for _ in range(20):
        await send(typed())
    assert await sync_to_async(merge_chunks)() > 0
    later = typed()
    await send(later)
    again = Live(await sync_to_async(session_of)(cast.dora), cursor=cursor)
    await again.open()
    await again.hear("gap")
    assert ids(await again.events(1)) == [later.event_id]
    await send(one := typed())
    assert ids(await again.events(1)) == [one.event_id]
    await again.close()


async def test_too_many_are_counted_and_said(cast: Cast, send: Any, settings: Any) -> None:
    settings.USAGE_LIVE_EVENTS_A_SECOND = 20
    live = await listening(cast)
    await send(*(typed(timestamp=moment(seconds=100 - n)) for n in range(100)))
    said = await live.hear("events")
    assert (len(said["data"]), said["dropped"]) == (20, 80)
    stamps = [event["timestamp"] for event in said["data"]]
    assert stamps == sorted(stamps)
    # The newest are those that are shown.
    assert stamps[-1] > (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    await live.close()


async def test_pausing_holds_events_back_and_loses_none(cast: Cast, send: Any) -> None:
    live = await listening(cast)
    await live.say("pause")
    await live.hear("paused")
    sent = [typed() for _ in range(3)]
    for one in sent:
        await send(one)
    assert await live.is_silent(0.5)
    await live.say("resume")
    await live.hear("resumed")
    assert sorted(ids(await live.events(3))) == sorted(ids(sent))
    await send(one := typed())
    assert ids(await live.events(1)) == [one.event_id]
    await live.close()


async def test_who_leaves_while_paused_goes_on_from_there(
    cast: Cast, send: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.consumers.ALIVE_SECONDS", 0.3)
    live = await listening(cast)
    await live.say("pause")
    while (await live.hear())["type"] != "paused":
        pass
    await send(one := typed())
    # It has been read and is held back, which the cursor must not pass over.
    for _ in range(3):
        cursor = (await live.hear("alive"))["cursor"]
    await live.close()
    again = Live(await sync_to_async(session_of)(cast.dora), cursor=cursor)
    await again.open()
    assert ids(await again.events(1)) == [one.event_id]
    await again.close()


async def test_a_failure_ends_the_socket_rather_than_leaving_it_silent(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("torn")

    live = await listening(cast)
    monkeypatch.setattr("apps.usage.live.LiveTail.look", fail)
    assert await live.closed() == 4500


async def test_pings_are_answered_and_nonsense_is_named(cast: Cast) -> None:
    live = await listening(cast)
    await live.say("ping")
    assert (await live.hear("pong"))["at"]
    for nonsense in ("sing", 7, None, ["x"]):
        await live.say(nonsense)
        assert (await live.hear("error"))["problem"]["code"] == "unknown_message"
    await live.close()


async def test_a_quiet_socket_is_kept_alive(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.consumers.ALIVE_SECONDS", 0.05)
    live = await listening(cast)
    assert (await live.hear("alive"))["cursor"]
    await live.close()


async def test_what_a_pause_holds_back_is_bounded(cast: Cast, send: Any) -> None:
    def look() -> tuple[int, int]:
        tail.look()
        news = tail.resume()
        return len(news.data), news.dropped

    tail = await sync_to_async(LiveTail)(cast.org.id, {})
    tail.pause()
    await send(*(typed() for _ in range(HELD - 100)))
    await sync_to_async(tail.look)()
    await send(*(typed() for _ in range(150)))
    assert await sync_to_async(look)() == (HELD, 50)


async def test_two_writers_and_a_listener_agree_on_every_event(cast: Cast, send: Any) -> None:
    """Sent from two keys at once while somebody listens, with chunks merged all the time."""
    live = await listening(cast)
    sent: list[Any] = []
    for _ in range(12):
        batch = [typed() for _ in range(5)]
        await asyncio.gather(send(*batch[:2]), send(*batch[2:]))
        await sync_to_async(merge_chunks)(settled=0)
        sent += batch
    heard = await live.events(len(sent))
    assert sorted(ids(heard)) == sorted(ids(sent))
    await live.close()
