"""What the supervisor does about a server that ends: all else needs PostgreSQL, and nothing needs Redis."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apps.core.dev.servers import ServerError
from apps.core.management.commands import up


def ended(name: str) -> Any:
    return SimpleNamespace(name=name, process=SimpleNamespace(poll=lambda: 1), log=Path("a.log"))


def watching(server: Any, start: Any) -> up.Command:
    command = up.Command()
    command.servers, command.starters, command.ends, command.redis_again = [server], [start], [], 0.0
    return command


def test_a_redis_that_does_not_come_up_ends_nothing_and_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def start(data_dir: Path) -> Any:
        tried.append(1)
        if len(tried) < 7:
            raise ServerError("Redis ended at once")
        return SimpleNamespace(name="Redis", process=SimpleNamespace(poll=lambda: None))

    command = watching(ended("Redis"), start)
    here: Any = SimpleNamespace(data_dir=Path("data"))
    for _ in range(5):
        command._watch_servers(here)
    assert len(tried) == 1, "not at once again"
    monkeypatch.setattr(up, "_REDIS_AGAIN", 0.0)
    command.redis_again = 0.0
    for _ in range(10):
        command._watch_servers(here)
    assert len(tried) == 7, "until it is there"


def test_a_postgresql_that_keeps_ending_is_an_error() -> None:
    command = watching(ended("PostgreSQL"), lambda data_dir: ended("PostgreSQL"))
    here: Any = SimpleNamespace(data_dir=Path("data"))
    for _ in range(3):
        command._watch_servers(here)
    with pytest.raises(ServerError, match="PostgreSQL ended unexpectedly"):
        command._watch_servers(here)
