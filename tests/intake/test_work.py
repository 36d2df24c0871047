"""What the intake's loop notices of itself."""

from collections.abc import Callable

import pytest
from django.db import connection

from mindweave.intake.work import Intake


class Loop:
    def __init__(self) -> None:
        self.later: list[Callable[[], None]] = []

    def call_later(self, seconds: float, then: Callable[[], None]) -> None:
        self.later.append(then)


def test_a_loop_that_asked_the_database_says_so(committed: None, caplog: pytest.LogCaptureFixture) -> None:
    intake, loop = object.__new__(Intake), Loop()
    intake._loop, intake.is_ending = loop, False  # type: ignore[assignment]
    connection.close()
    intake._look()
    assert "asked the database" not in caplog.text
    connection.ensure_connection()
    loop.later.pop()()
    assert "asked the database" in caplog.text
    assert connection.connection is None
    intake.is_ending = True
    loop.later.pop()()
    assert not loop.later
