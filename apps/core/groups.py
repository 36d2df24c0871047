"""Messages to groups of sockets, from code that is not asynchronous, and hearing them.

Channels' own bridge makes an event loop and a connection to Redis for each message; here one thread of the process
keeps both. What such a message says only hurries a look, so Redis may come and go: nobody fails or waits for it.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis
from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings

from apps.core.redis_away import REDIS

__all__ = ["group_send", "groups_heard", "hear_groups"]

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 1.0
# Redis is asked who listens within so many seconds.
_ASKED_SECONDS = 0.5
# Whoever cannot hear tries again so often.
_AGAIN_SECONDS = 1.0
_client: redis.Redis | None = None
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner = 0


def group_send(group: str, message: dict[str, Any]) -> bool:
    """Send ``message`` to every socket of ``group``; False, within a second, where Redis is away."""
    layer = get_channel_layer()
    if layer is None:
        return False
    try:
        with REDIS.asking():
            sent = asyncio.run_coroutine_threadsafe(layer.group_send(group, message), _running_loop())
            try:
                sent.result(_TIMEOUT_SECONDS)
            except TimeoutError:
                sent.cancel()
                raise
    except (redis.RedisError, OSError):
        return False
    return True


def groups_heard(groups: Sequence[str]) -> list[bool]:
    """Whether each group may have listeners at this moment, in one question; all may where that cannot be told."""
    global _client
    layer = get_channel_layer()
    config: dict[str, Any] = dict(settings.CHANNEL_LAYERS["default"]).get("CONFIG", {})  # type: ignore[assignment]
    hosts = config.get("hosts", [])
    known = isinstance(layer, RedisPubSubChannelLayer) and len(hosts) == 1 and "address" in hosts[0]
    if not groups or not known:
        return [True] * len(groups)
    prefix = config["prefix"]
    if _client is None:
        _client = redis.Redis.from_url(
            hosts[0]["address"], socket_timeout=_ASKED_SECONDS, socket_connect_timeout=_ASKED_SECONDS
        )
    try:
        with REDIS.asking():
            # Named as the layer names them.
            found = _client.pubsub_numsub(*(f"{prefix}__group__{group}" for group in groups))
    except (redis.RedisError, OSError):
        return [True] * len(groups)
    return [count > 0 for _, count in found]


async def hear_groups(
    groups: Sequence[str],
    *,
    joined: Callable[[], None],
    heard: Callable[[dict[str, Any]], Awaitable[None]],
    has_ended: Callable[[], bool],
) -> None:
    """Have ``heard`` called with each message to one of the groups, until ``has_ended``; for a task of a socket.

    ``joined`` is called each time from which on messages are heard: what was said before, nobody heard. Without Redis
    it is tried again each second. (Channels by itself would end a socket whose Redis goes away.)
    """
    # The client of Redis may swallow a cancellation that comes while it connects: a flag says it as well.
    while not has_ended():
        layer = get_channel_layer()
        channel = None
        try:
            channel = await layer.new_channel()
            for group in groups:
                await layer.group_add(group, channel)
            joined()
            while not has_ended():
                await heard(await layer.receive(channel))
        except Exception:
            logger.debug("messages to %s are not heard", ", ".join(groups), exc_info=True)
            await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            if channel is not None:
                for group in groups:
                    with contextlib.suppress(Exception):
                        await asyncio.wait_for(layer.group_discard(group, channel), _TIMEOUT_SECONDS)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _owner
    with _lock:
        # A forked process has the object but not its thread.
        if _loop is None or _owner != os.getpid():
            _loop, _owner = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="group-send", daemon=True).start()
        return _loop
