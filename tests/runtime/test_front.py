"""The front: who gets which path, what of a client's headers passes, and that nothing is held back."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from apps.core.dev.front import front_command
from tests.runtime.instance import free_port
from tests.runtime.upstream import Upstream
from tests.waiting import wait_for

pytestmark = pytest.mark.processes


class Front:
    def __init__(self, port: int, web: Upstream, realtime: Upstream) -> None:
        self.port, self.web, self.realtime = port, web, realtime

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def fetch(self, path: str, **request: Any) -> dict[str, Any]:
        return fetch(self.connection(), path, **request)


def fetch(connection: http.client.HTTPConnection, path: str, **request: Any) -> dict[str, Any]:
    connection.request(request.pop("method", "GET"), path, **request)
    answer = connection.getresponse()
    assert answer.status == 200
    facts: dict[str, Any] = json.loads(answer.read())
    return facts


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    directory: Path = tmp_path_factory.mktemp("f")
    upstreams = [Upstream(name, directory / f"{name}.sock").start() for name in ("web", "realtime")]
    port = free_port()
    command, env = front_command(directory, "127.0.0.1", port, web=upstreams[0].path, realtime=upstreams[1].path)
    process = subprocess.Popen(command, env=env, stderr=(directory / "log").open("wb"), cwd=directory)
    front = Front(port, *upstreams)
    try:
        wait_for(lambda: _listens(front), what="the front")
        yield front
    finally:
        process.terminate()
        process.wait()
        for upstream in upstreams:
            upstream.stop()


def _listens(front: Front) -> bool:
    try:
        return bool(front.fetch("/"))
    except OSError:
        return False


def test_sockets_and_gateways_go_to_realtime_and_all_else_to_web(front: Front) -> None:
    for path in ("/", "/v1/events", "/o/acme/", "/ws", "/gateways", "/static/ws/x", "/admin/ws/"):
        assert front.fetch(path)["by"] == "web", path
    for path in ("/ws/live", "/gateway/anthropic/v1/messages", "/gateway/mcp/acme/files", "/ws/a/b?c=d"):
        assert front.fetch(path)["by"] == "realtime", path


def test_one_connection_may_alternate(front: Front) -> None:
    connection = front.connection()
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        assert fetch(connection, "/v1/events", method="POST", body=b"x" * 400_000)["size"] == 400_000
        assert fetch(connection, "/o/acme/")["by"] == "web"
        assert fetch(connection, "/gateway/anthropic/v1/messages", method="POST", body=b"{}")["by"] == "realtime"
    assert connection.sock is socket


def test_where_a_request_comes_from_cannot_be_forged(front: Front) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X_Forwarded_For": "203.0.113.9",
        "X-Forwarded_Proto": "https",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Correlation-Id": "kept",
    }
    for path in ("/", "/ws/x"):
        headers = front.fetch(path, headers=forged)["headers"]
        assert headers["x-forwarded-for"] == "127.0.0.1"
        assert headers["x-forwarded-proto"] == "http"
        assert headers["x-forwarded-host"] == f"127.0.0.1:{front.port}"
        assert headers["x-correlation-id"] == "kept"
        assert not [name for name in headers if "_" in name]


def test_no_compression_is_asked_for_that_the_client_did_not(front: Front) -> None:
    connection = front.connection()
    connection.putrequest("GET", "/", skip_accept_encoding=True)
    connection.endheaders()
    assert "accept-encoding" not in json.loads(connection.getresponse().read())["headers"]


def test_a_large_body_arrives_whole(front: Front) -> None:
    assert front.fetch("/v1/events", method="POST", body=b"x" * (10 * 2**20))["size"] == 10 * 2**20


def test_events_are_flushed_at_once_and_a_client_that_goes_is_noticed(front: Front) -> None:
    connection = front.connection()
    connection.request("GET", "/gateway/stream")
    answer = connection.getresponse()
    # The upstream sends the second event only after this has arrived.
    assert answer.readline() == b"data: one\n"
    front.realtime.next_part.set()
    assert answer.readline() == b"\n"
    assert answer.readline() == b"data: two\n"
    connection.sock.close() if connection.sock else answer.close()
    answer.close()
    assert front.realtime.gone.wait(20)


def test_a_websocket_passes(front: Front) -> None:
    with connect(f"ws://127.0.0.1:{front.port}/ws/live") as socket:
        for word in ("one", "two"):
            socket.send(word)
            assert socket.recv(20) == word


def test_nothing_of_caddys_own_can_be_reached_or_is_written_home(front: Front) -> None:
    config = json.loads((front.web.path.parent / "front.json").read_text())
    assert config["admin"] == {"disabled": True, "config": {"persist": False}}
    assert front.fetch("/config/")["by"] == "web"
