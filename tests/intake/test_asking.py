"""Questions that a loop waits for: each is answered once, whatever becomes of the connection."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from apps.core.asking import Asker, Question, Rows
from apps.core.database import connect

pytestmark = pytest.mark.usefixtures("committed")

_WHO = "SELECT pg_backend_pid()"


class Answers:
    """What was answered, in the order of the questions."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._each: list[list[tuple[Rows, BaseException | None]]] = []

    def ask(self, statement: str, *values: Any) -> None:
        mine: list[tuple[Rows, BaseException | None]] = []
        self._each.append(mine)
        self._asker.ask(Question(statement, values), lambda rows, error: mine.append((rows, error)))

    async def all(self) -> list[tuple[Rows, BaseException | None]]:
        for _ in range(1000):
            if all(self._each):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)
        assert [len(mine) for mine in self._each] == [1] * len(self._each)
        answered, self._each = [mine[0] for mine in self._each], []
        return answered


async def opened(asker: Asker) -> None:
    for _ in range(1000):
        asker.open()
        if asker.is_open:
            return
        await asyncio.sleep(0.01)


def on_a_loop(work: Callable[[Asker, Answers], Awaitable[None]]) -> None:
    async def run() -> None:
        asker = Asker(asyncio.get_running_loop())
        await opened(asker)
        try:
            await work(asker, Answers(asker))
        finally:
            asker.close()
            # One that is opened later would keep the database of the tests from being removed.
            while asker.is_opening:
                await asyncio.sleep(0.01)

    asyncio.run(run())


def test_questions_are_answered_in_order_with_values_of_all_kinds() -> None:
    ids, digests = [uuid4(), uuid4()], [b"\0\xff", b"x" * 32]

    async def work(asker: Asker, answers: Answers) -> None:
        for _ in range(3):
            answers.ask("SELECT %s::uuid, %s::bytea[], %s::text", ids[0], digests, "it's \\ §")
            answers.ask("SELECT n, n IS NULL FROM unnest(%s::int[]) AS n", [1, None, 3])
            answers.ask("SELECT 1 WHERE false")
            answers.ask("SELECT unnest(%s::uuid[])", ids)
        found = await answers.all()
        assert [error for _, error in found] == [None] * 12
        assert [rows for rows, _ in found[:4]] == [
            [(ids[0], digests, "it's \\ §")], [(1, False), (None, True), (3, False)], [], [(ids[0],), (ids[1],)],
        ]  # fmt: skip
        assert found[4:8] == found[8:] == found[:4]

    on_a_loop(work)


def test_one_that_fails_fails_those_behind_it_and_the_next_are_answered() -> None:
    async def work(asker: Asker, answers: Answers) -> None:
        for statement in ("SELECT 1", "SELECT 1 / (%s - %s)", "SELECT 2"):
            answers.ask(statement, *([5, 5] if "%s" in statement else []))
        first, second, third = await answers.all()
        assert first == ([(1,)], None)
        assert [(rows, type(error).__name__) for rows, error in (second, third)] == [([], "DivisionByZero")] * 2
        await opened(asker)
        answers.ask("SELECT 1 / (%s - %s)", 6, 5)
        answers.ask("SELECT no_such_column")
        good, bad = await answers.all()
        assert good == ([(1,)], None)
        assert type(bad[1]).__name__ == "UndefinedColumn"
        await opened(asker)
        answers.ask("SELECT 2")
        assert await answers.all() == [([(2,)], None)]

    on_a_loop(work)


def test_a_connection_that_is_cut_is_told_and_opened_anew() -> None:
    async def work(asker: Asker, answers: Answers) -> None:
        answers.ask(_WHO)
        ((((number,),), _),) = await answers.all()
        answers.ask("SELECT pg_sleep(5)")
        answers.ask("SELECT 1")
        await asyncio.sleep(0.1)
        with connect() as other:
            other.execute("SELECT pg_terminate_backend(%s)", [number])
        assert all(rows == [] and error is not None for rows, error in await answers.all())
        await opened(asker)
        answers.ask(_WHO)
        ((((again,),), error),) = await answers.all()
        assert error is None
        assert again != number
        # Cut while nobody asks: it is noticed without a question.
        with connect() as other:
            other.execute("SELECT pg_terminate_backend(%s)", [again])
        for _ in range(200):
            await asyncio.sleep(0.01)
            if not asker.is_open or asker.is_opening:
                break
        await opened(asker)
        answers.ask("SELECT 3")
        assert await answers.all() == [([(3,)], None)]

    on_a_loop(work)


def test_without_a_connection_and_after_its_end_it_says_so_at_once() -> None:
    async def run() -> None:
        asker = Asker(asyncio.get_running_loop())
        answers = Answers(asker)
        answers.ask("SELECT 1")
        ((rows, error),) = await answers.all()
        assert rows == []
        assert "no connection" in str(error)
        await opened(asker)
        answers.ask("SELECT pg_sleep(5)")
        asker.close()
        answers.ask("SELECT 1")
        assert all(error is not None for _, error in await answers.all())
        assert not asker.is_opening

    asyncio.run(run())


def test_what_is_longer_than_the_socket_takes_at_once_arrives() -> None:
    async def work(asker: Asker, answers: Answers) -> None:
        for size in (1, 8_000_000, 2):
            answers.ask("SELECT octet_length(%s::bytea)", b"x" * size)
        assert [rows for rows, _ in await answers.all()] == [[(1,)], [(8_000_000,)], [(2,)]]

    on_a_loop(work)
