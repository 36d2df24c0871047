"""What is dear is computed once, by one at a time, and without Redis by everybody."""

import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache

from apps.core.redis_away import REDIS
from apps.core.remember import remember


def test_the_second_time_it_is_remembered() -> None:
    key, made = f"test:{uuid4()}", []
    for _ in range(3):
        assert remember(key, lambda: made.append(1) or {"a": [1, b"2"]}) == {"a": [1, b"2"]}
    assert len(made) == 1


def test_while_one_computes_the_others_wait_for_that() -> None:
    key, made = f"test:{uuid4()}", []

    def slow() -> str:
        made.append(1)
        time.sleep(0.2)
        return "dear"

    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(remember(key, slow))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["dear"] * 8
    assert len(made) == 1


def test_one_that_fails_keeps_nobody_waiting() -> None:
    key = f"test:{uuid4()}"

    def broken() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        remember(key, broken)
    assert remember(key, lambda: "yes") == "yes"


def test_what_is_too_large_is_computed_each_time() -> None:
    key, made = f"test:{uuid4()}", []
    for _ in range(2):
        remember(key, lambda: made.append(1) or b"x" * 2**20)
    assert len(made) == 2


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
