"""Messages to groups of sockets: who would hear them."""

import pytest
import redis
from channels.layers import get_channel_layer

from apps.core import groups
from apps.core.redis_away import REDIS

pytestmark = pytest.mark.asyncio


async def test_it_says_which_groups_have_listeners() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add("heard.one", channel)
    await layer.group_send("heard.one", {"type": "a.word"})
    assert await layer.receive(channel) == {"type": "a.word"}, "Redis has it that somebody listens"
    assert groups.groups_heard(["heard.one", "heard.two"]) == [True, False]
    await layer.group_discard("heard.one", channel)
    await layer.flush()
    assert groups.groups_heard([]) == []


async def test_where_redis_does_not_say_all_may_have_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Away:
        def pubsub_numsub(self, *names: str) -> None:
            asked.append(names)
            raise redis.ConnectionError

    monkeypatch.setattr(groups, "_client", Away())
    assert groups.groups_heard(["one", "two"]) == [True, True]
    assert groups.groups_heard(["one", "two"]) == [True, True]
    assert asked == [("mw__group__one", "mw__group__two")], "and is not asked again at once"
    REDIS.forget()
