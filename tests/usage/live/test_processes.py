"""A tail beside a drain of two processes that counts, while chunks are merged: every event once, and nobody else's."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from apps.usage.drain.merge import merge_chunks
from apps.usage.live import LiveTail
from apps.usage.services import ingest
from tests.usage.engine.conftest import World, make_world, typed
from tests.usage.engine.test_processes import start_drain
from tests.waiting import wait_for

pytestmark = pytest.mark.processes


@pytest.fixture
def drain(committed: None) -> Iterator[list[subprocess.Popen[bytes]]]:
    processes = [start_drain()]
    yield processes
    processes[-1].terminate()
    processes[-1].wait(10)


class Listener:
    """A tail and what it has shown."""

    def __init__(self, world: World) -> None:
        self.world, self.tail = world, LiveTail(world.org_id, {})
        self.sent: list[str] = []
        self.seen: list[str] = []

    def send(self, count: int) -> None:
        events = [typed(event_id=str(uuid4())) for _ in range(count)]
        # Some of the old ones come again.
        ingest(key=self.world.key, events=[*events, *(typed(event_id=old) for old in self.sent[-2:])])
        self.sent += [event.event_id for event in events]

    def look(self) -> None:
        news = self.tail.look()
        assert (news.dropped, news.gap) == (0, False)
        self.seen += [event["event_id"] for event in news.data]


def test_a_tail_beside_the_drain_shows_every_event_once(
    drain: list[subprocess.Popen[bytes]], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.USAGE_LIVE_EVENTS_A_SECOND = 1_000_000
    monkeypatch.setattr("apps.usage.drain.merge.TOGETHER", 3)
    listeners = [Listener(make_world(f"tail{n}")) for n in range(4)]
    settled, merged, rounds_after, killed = 0, 0, 0, False
    deadline = time.monotonic() + 60
    # On until chunks were merged before the kill, and for a while after it.
    while rounds_after < 30:
        assert time.monotonic() < deadline, f"{merged} chunks merged, killed: {killed}"
        for listener in listeners:
            listener.send(3)
            listener.look()
        merged += merge_chunks(settled=settled)
        # Everybody has looked since: from here on down chunks may be merged, as after the drain's ten seconds.
        settled = min(listener.tail.place for listener in listeners)
        rounds_after += killed
        if merged and not killed:
            os.killpg(drain[-1].pid, signal.SIGKILL)
            drain[-1].wait()
            drain.append(start_drain())
            killed = True

    def all_seen() -> bool:
        for listener in listeners:
            listener.look()
        return all(len(listener.seen) >= len(listener.sent) for listener in listeners)

    wait_for(all_seen, what="the last events")
    for listener in listeners:
        listener.look()
        assert sorted(listener.seen) == sorted(listener.sent)
