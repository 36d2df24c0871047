"""The intake as a process of its own, on the database of the tests."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import Processes
from tests.usage.engine.conftest import World, _fresh_caches, committed, drain, world
from tests.waiting import wait_for

__all__ = ["_fresh_caches", "committed", "drain", "world"]


class Server:
    """The process, and where it listens."""

    def __init__(self, logs: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._logs = logs
        self._processes = Processes(logs, "mindweave.settings")
        self.process = self._processes.start("-m", "mindweave.intake", f"127.0.0.1:{self.port}")

    def client(self, world: World) -> httpx.Client:
        headers = {"Authorization": f"Bearer {world.token}", "Content-Type": "application/json"}
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30)

    def is_up(self) -> bool:
        assert self.process.poll() is None, "it ended"
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health/live").status_code == 200
        except httpx.TransportError:
            return False

    def is_listening(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except ConnectionRefusedError:
            return False
        return True

    def end(self) -> None:
        self._processes.end()
        said = "".join(log.read_text(errors="replace") for log in self._logs.iterdir())
        assert "the intake's loop asked the database" not in said


def _up(logs: Path) -> Iterator[Server]:
    server = Server(logs)
    try:
        wait_for(server.is_up, seconds=60, what="the intake")
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def server(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests: each has keys of its own, which it does not know yet."""
    yield from _up(tmp_path_factory.mktemp("intake"))


@pytest.fixture
def own_server(world: World, tmp_path: Path) -> Iterator[Server]:
    """One that a test may end."""
    yield from _up(tmp_path)
