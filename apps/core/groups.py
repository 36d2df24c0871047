"""Messages to groups of sockets, from code that is not asynchronous.

Channels' own bridge makes an event loop and a connection to Redis for each message; here one thread of the process
keeps both.
"""

import asyncio
import os
import threading
from typing import Any

from channels.layers import get_channel_layer

__all__ = ["group_send"]

_TIMEOUT_SECONDS = 5.0
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


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _owner
    with _lock:
        # A forked process has the object but not its thread.
        if _loop is None or _owner != os.getpid():
            _loop, _owner = asyncio.new_event_loop(), os.getpid()
            threading.Thread(target=_loop.run_forever, name="group-send", daemon=True).start()
        return _loop
