"""What is dear is computed once, by one at a time, and without Redis by everybody.

Others come in where a test lets them: beside a call of the cache, or in place of a wait.
"""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache

from apps.core import remember as module
from apps.core.redis_away import REDIS
from apps.core.remember import remember


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key of this test alone, for which others are waited for as long as it takes."""
    monkeypatch.setattr(module, "_LONGEST_WAIT", 600.0)
    return f"test:{uuid4()}"


def _while_waiting(monkeypatch: pytest.MonkeyPatch, *happen: Callable[[], object]) -> list[float]:
    """Each of ``happen`` is called in place of one wait, in order; the waits so far."""
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        assert len(waits) <= len(happen), "waited once more than there is something to wait for"
        happen[len(waits) - 1]()

    _with_clock(monkeypatch, sleep)
    return waits


def _with_clock(
    monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None], monotonic: Callable[[], float] = time.monotonic
) -> None:
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=monotonic))


def _never() -> Any:
    raise AssertionError("computed")


def _is_busy(key: str) -> bool:
    return cache.get(f"{key}:busy") is not None


def test_the_second_time_it_is_remembered(key: str) -> None:
    assert remember(key, lambda: {"a": [1, b"2"]}) == {"a": [1, b"2"]}
    assert not _is_busy(key)
    for _ in range(2):
        assert remember(key, _never) == {"a": [1, b"2"]}


def test_while_one_computes_the_others_wait_for_that(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that computes goes on when all others have waited."""
    waiting, seven_wait, made = set(), threading.Event(), []

    def sleep(_seconds: float) -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 7:
            seven_wait.set()
        seven_wait.wait(60)

    def slow() -> str:
        made.append(1)
        seven_wait.wait(60)
        return "dear"

    _with_clock(monkeypatch, sleep)
    assert _of_eight(lambda: remember(key, slow)) == ["dear"] * 8
    assert len(made) == 1
    assert not _is_busy(key)


def test_where_the_one_fails_one_of_those_who_waited_is_next_and_the_others_wait_on(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, seven_wait, at_once, most, made = set(), threading.Event(), [0], [0], []
    count = threading.Lock()

    def sleep(_seconds: float) -> None:
        waiting.add(threading.get_ident())
        if len(waiting) == 7:
            seven_wait.set()
        seven_wait.wait(60)

    def first_time_broken() -> str:
        with count:
            made.append(1)
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            first = len(made) == 1
        seven_wait.wait(60)
        with count:
            at_once[0] -= 1
        if first:
            raise ValueError("no")
        return "dear"

    _with_clock(monkeypatch, sleep)
    answers = _of_eight(lambda: remember(key, first_time_broken))
    assert sorted(map(str, answers)) == ["dear"] * 7 + ["no"]
    assert len(made) == 2
    assert most == [1]


def _of_eight(ask: Callable[[], object]) -> list[object]:
    """What eight threads were answered, errors included."""
    answers: list[object] = []

    def one() -> None:
        try:
            answers.append(ask())
        except ValueError as error:
            answers.append(error)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_one_that_ended_between_the_look_and_the_claim_is_heard(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add = cache.add

    def another_ends_first(*args: Any, **kwargs: Any) -> Any:
        cache.set(key, "theirs")
        return add(*args, **kwargs)

    monkeypatch.setattr(cache, "add", another_ends_first, raising=False)
    assert remember(key, _never) == "theirs"
    assert not _is_busy(key)


def test_one_that_claimed_between_the_look_and_the_claim_is_waited_for(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = cache.add

    def another_claims_first(*args: Any, **kwargs: Any) -> Any:
        add(f"{key}:busy", "one")
        return add(*args, **kwargs)

    monkeypatch.setattr(cache, "add", another_claims_first, raising=False)
    waits = _while_waiting(monkeypatch, lambda: cache.set(key, "theirs"))
    assert remember(key, _never) == "theirs"
    assert len(waits) == 1
    assert _is_busy(key), "the other one's claim was taken from it"


def test_who_sees_the_claim_end_without_an_answer_claims_it_and_may_come_second(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.add(f"{key}:busy", "one")
    waits = _while_waiting(
        monkeypatch,
        lambda: None,
        lambda: cache.set(f"{key}:busy", "one"),  # the first failed, and another was quicker to be the next
        lambda: cache.delete(f"{key}:busy"),  # that one failed too
    )
    seen_while_making = []
    assert remember(key, lambda: seen_while_making.append(_is_busy(key)) or "mine") == "mine"
    assert len(waits) == 3
    assert seen_while_making == [True]
    assert not _is_busy(key)
    assert cache.get(key) == "mine"


def test_one_that_takes_too_long_is_not_waited_for(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.add(f"{key}:busy", "one")
    waits: list[float] = []
    clock = iter((100.0, 104.9, 105.0))
    monkeypatch.setattr(module, "_LONGEST_WAIT", 5.0)
    _with_clock(monkeypatch, waits.append, lambda: next(clock))
    assert remember(key, lambda: "mine") == "mine"
    assert len(waits) == 1
    assert _is_busy(key), "the other one's claim was taken from it"
    assert cache.get(key) == "mine"


def test_one_that_fails_keeps_nobody_waiting(key: str) -> None:
    def broken() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        remember(key, broken)
    assert not _is_busy(key)
    assert remember(key, lambda: "yes") == "yes"


@pytest.mark.parametrize("value", [b"x" * 2**20, None], ids=["too large", "nothing"])
def test_what_is_not_kept_is_computed_each_time_and_nobody_waits_for_it(
    key: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    _while_waiting(monkeypatch)
    for _ in range(2):
        assert remember(key, lambda: made.append(1) or value) == value
    assert len(made) == 2
    # Whoever waited sees it, too.
    cache.set(f"{key}:busy", "one")
    _while_waiting(monkeypatch, lambda: cache.set(f"{key}:busy", "each"))
    assert remember(key, lambda: made.append(1) or value) == value
    assert len(made) == 3


def test_without_redis_it_is_computed(settings: Any) -> None:
    away = {**settings.CACHES["default"], "LOCATION": "unix:///nonexistent/redis.sock?db=2"}
    settings.CACHES = {"default": away}
    made: list[int] = []
    for _ in range(3):
        assert remember("test:away", lambda: made.append(1) or 7) == 7
    assert len(made) == 3
    # As an empty cache answers.
    assert cache.add("test:away", 1)
    assert cache.get("test:away", "nothing") == "nothing"
    assert not cache.delete("test:away")
    REDIS.forget()
