"""Commits that a loop waits for: all of them are told, once, whatever becomes of the connections."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from apps.core.database import connect
from apps.usage.ingest import sending
from apps.usage.ingest.inbox import InboxRow
from apps.usage.ingest.sending import Sender
from tests.usage.engine.conftest import rows

pytestmark = pytest.mark.usefixtures("committed")

_ORGS = [uuid4() for _ in range(3)]


def row(org: int, size: int = 100, events: int = 1) -> InboxRow:
    return InboxRow(_ORGS[org], datetime.now(UTC), events, b"x" * size)


class Told:
    """What was told of each that was sent."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender
        self.told: list[list[BaseException | None]] = []

    def send(self, *sent: InboxRow) -> None:
        mine: list[BaseException | None] = []
        self.told.append(mine)
        self.sender.send(list(sent), mine.append)

    async def all(self) -> list[BaseException | None]:
        for _ in range(1000):
            if all(self.told):
                break
            await asyncio.sleep(0.01)
        assert [len(mine) for mine in self.told] == [1] * len(self.told)
        return [mine[0] for mine in self.told]


def on_a_loop(work: Callable[[Sender, Told], Awaitable[None]]) -> None:
    async def run() -> None:
        sender = Sender(asyncio.get_running_loop())
        for _ in range(1000):
            if sender.can_send():
                break
            await asyncio.sleep(0.01)
        try:
            await work(sender, Told(sender))
        finally:
            # One that is opened later would keep the database of the tests from being removed.
            while sender._opening:
                await asyncio.sleep(0.01)
            sender.close()

    asyncio.run(run())


def committed_rows() -> list[tuple[Any, ...]]:
    return rows("SELECT org_id, sum(events), sum(octet_length(frames)) FROM usage_inbox GROUP BY 1 ORDER BY 1")


def test_what_gathers_is_committed_in_few_commits_and_each_is_told() -> None:
    async def work(sender: Sender, told: Told) -> None:
        for number in range(300):
            told.send(row(number % 3), row((number + 1) % 3, size=20_000))
        assert not sender.is_idle
        assert await told.all() == [None] * 300
        assert sender.is_idle

    on_a_loop(work)
    assert committed_rows() == sorted((org, 200, 100 * 20_100) for org in _ORGS)
    assert rows("SELECT count(*) FROM usage_inbox")[0][0] <= 20, "few rows, since they are read one by one"


def test_a_commit_has_not_more_events_than_a_row_should() -> None:
    async def work(sender: Sender, told: Told) -> None:
        for _ in range(12):
            told.send(row(0, events=3000))
        await told.all()

    on_a_loop(work)
    assert rows("SELECT max(events), sum(events) FROM usage_inbox") == [(3000, 36_000)]


def test_larger_than_all_buffers() -> None:
    async def work(sender: Sender, told: Told) -> None:
        for number in range(5):
            told.send(row(number % 3, size=9_000_000))
        assert await told.all() == [None] * 5

    on_a_loop(work)
    assert sum(size for _, _, size in committed_rows()) == 45_000_000


def test_connections_that_are_cut_are_told_of_and_replaced() -> None:
    async def work(sender: Sender, told: Told) -> None:
        told.send(row(0))
        assert await told.all() == [None]
        with connect() as other:
            other.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE 'INSERT INTO usage_inbox%' AND pid <> pg_backend_pid()"
            )
        told.told.clear()
        for _ in range(10):
            told.send(row(1))
        failed = await told.all()
        assert any(isinstance(error, psycopg.OperationalError) for error in failed)
        for _ in range(1000):
            if sender.can_send() and sender.is_idle:
                break
            await asyncio.sleep(0.01)
        told.told.clear()
        told.send(row(2))
        assert await told.all() == [None]

    on_a_loop(work)


def test_without_any_connection_whoever_sends_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise psycopg.OperationalError("refused")

    async def work() -> None:
        sender = Sender(asyncio.get_running_loop())
        assert not sender.can_send()
        told = Told(sender)
        told.send(row(0))
        (error,) = await told.all()
        assert "no connection" in str(error)
        assert sender.is_idle

    monkeypatch.setattr(sending, "_connect", refused)
    asyncio.run(work())


def test_a_commit_that_is_over_is_gone_with_its_rows() -> None:
    """What refers to itself is there until the collector comes by: 100 batches a second were 12 MB a second."""

    async def work(sender: Sender, told: Told) -> None:
        gc.collect()
        gc.disable()
        try:
            for size in (100, 3_000_000):
                told.send(row(0, size=size))
                assert await told.all() == [None] * len(told.told)
            await asyncio.sleep(0.05)
            assert [kept for kept in gc.get_objects() if isinstance(kept, sending._Commit)] == []
        finally:
            gc.enable()

    on_a_loop(work)
