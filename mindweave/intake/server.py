"""The loop, and where it listens."""

import asyncio
import os
import signal
from pathlib import Path

import uvloop

from mindweave.intake.connection import Connection
from mindweave.intake.work import Intake
from mindweave.lane import Lane

__all__ = ["serve"]


def serve(address: Path | str, lane: Lane) -> None:
    """Serve on a Unix socket, or on ``host:port``, until SIGTERM; what has come by then is answered."""
    # Django takes any thread with a loop for one that must not ask the database. This one does not but by mistake; then
    # it is better slow than broken.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(address, lane))


async def _serve(address: Path | str, lane: Lane) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    intake = Intake(loop, lane)
    if isinstance(address, Path):
        server: asyncio.Server = await loop.create_unix_server(lambda: Connection(intake), str(address), backlog=2048)
    else:
        host, _, port = address.rpartition(":")
        server = await loop.create_server(lambda: Connection(intake), host, int(port), backlog=2048)
    await ending.wait()
    server.close()
    await intake.end()
