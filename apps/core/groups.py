"""Messages to groups of sockets, from code that is not asynchronous.

Channels' own bridge makes an event loop and a connection to Redis for each message; here one thread of the process
keeps both.
"""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import redis
from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings

__all__ = ["group_send", "groups_heard"]

_TIMEOUT_SECONDS = 5.0
# Redis is asked who listens within so many seconds, or not again for so many.
_ASKED_SECONDS, _NOT_AGAIN_SECONDS = 0.5, 5.0
_client: redis.Redis | None = None
_not_before = 0.0
_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner = 0


def group_send(group: str, message: dict[str, Any]) -> None:
    """Send ``message`` to every socket of ``group``; raises what the channel layer raises, or :class:`TimeoutError`."""
    layer = get_channel_layer()
    if layer is None:
        return
    sent = asyncio.run_coroutine_threadsafe(layer.group_send(group, message), _running_loop())
    try:
        sent.result(_TIMEOUT_SECONDS)
    except TimeoutError:
        sent.cancel()
        raise


def groups_heard(groups: Sequence[str]) -> list[bool]:
    """Whether each group may have listeners at this moment, in one question; all may where that cannot be told."""
    global _client, _not_before
    layer = get_channel_layer()
    config: dict[str, Any] = dict(settings.CHANNEL_LAYERS["default"]).get("CONFIG", {})  # type: ignore[assignment]
    hosts = config.get("hosts", [])
    known = isinstance(layer, RedisPubSubChannelLayer) and len(hosts) == 1 and isinstance(hosts[0], str)
    if not groups or not known or time.monotonic() < _not_before:
        return [True] * len(groups)
    prefix = config["prefix"]
    try:
        if _client is None:
            _client = redis.Redis.from_url(
                hosts[0], socket_timeout=_ASKED_SECONDS, socket_connect_timeout=_ASKED_SECONDS
            )
        # Named as the layer names them.
        found = _client.pubsub_numsub(*(f"{prefix}__group__{group}" for group in groups))
    except (redis.RedisError, OSError):
        _not_before = time.monotonic() + _NOT_AGAIN_SECONDS
        return [True] * len(groups)
    return [count > 0 for _, count in found]


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _owner
    with _lock:
        # A forked process has the object but not its thread.
        if _loop is None or _owner != os.getpid():
            _loop, _owner = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="group-send", daemon=True).start()
        return _loop
