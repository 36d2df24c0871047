"""The front: who gets which path, what of a client's headers passes, and that nothing is held back."""

import http.client
import json
import subprocess
import threading
import time
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
    def __init__(self, port: int, web: Upstream, realtime: Upstream, intake: list[Upstream]) -> None:
        self.port, self.web, self.realtime, self.intake = port, web, realtime, intake

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
    intake = [Upstream("intake", directory / f"intake-{number}.sock").start() for number in range(2)]
    port = free_port()
    command, env = front_command(
        directory, "127.0.0.1", port, web=upstreams[0].path, realtime=upstreams[1].path,
        intake=[upstream.path for upstream in intake],
    )  # fmt: skip
    process = subprocess.Popen(command, env=env, stderr=(directory / "log").open("wb"), cwd=directory)
    front = Front(port, *upstreams, intake)
    try:
        wait_for(lambda: _listens(front), what="the front")
        yield front
    finally:
        process.terminate()
        process.wait()
        for upstream in (front.web, front.realtime, *front.intake):
            upstream.stop()


def _listens(front: Front) -> bool:
    try:
        return bool(front.fetch("/"))
    except OSError:
        return False


def test_events_that_are_sent_go_to_the_intake_and_those_that_are_asked_for_to_web(front: Front) -> None:
    for path in ("/v1/events", "/v1/track", "/v1/events?a=b"):
        assert front.fetch(path, method="POST", body=b"{}")["by"] == "intake", path
        assert front.fetch(path)["by"] == "web", path
    wish = {"Connection": "Upgrade", "Upgrade": "h2c", "X-Forwarded-For": "203.0.113.9"}
    found = front.fetch("/v1/events", method="POST", body=b"{}", headers=wish)["headers"]
    assert "upgrade" not in found
    assert found["x-forwarded-for"] == "127.0.0.1"
    assert found["host"] == found["x-forwarded-host"] == f"127.0.0.1:{front.port}"
    for path in ("/v1/events/x", "/v1/eventsx", "/otlp/v1/logs"):
        assert front.fetch(path, method="POST", body=b"{}")["by"] == "web", path


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


def test_a_body_beyond_all_limits_is_refused_before_it_fills_the_disk(front: Front) -> None:
    connection = front.connection()
    connection.putrequest("POST", "/v1/events")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert json.loads(answer.read())["code"] == "payload_too_large"
    assert front.fetch("/v1/imports", method="POST", body=b"x" * (24 * 2**20))["size"] == 24 * 2**20


@pytest.mark.parametrize("path", ["/v1/imports", "/o/acme/imports/upload"])
def test_files_pass_as_they_come_and_are_bounded(front: Front, path: str) -> None:
    assert front.fetch(path, method="POST", body=b"x" * (24 * 2**20))["size"] == 24 * 2**20
    connection = front.connection()
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(3 * 2**30))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert "at most 2147483648 bytes" in json.loads(answer.read())["detail"]


def test_uploads_leave_threads_to_all_others(front: Front) -> None:
    held = []
    for _ in range(7):
        connection = front.connection()
        connection.putrequest("POST", "/o/acme/imports/upload")
        connection.putheader("Content-Length", "2")
        connection.endheaders(b"x")
        held.append(connection)
    answer = held[-1].getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "5")
    assert json.loads(answer.read())["code"] == "too_many_uploads"
    assert front.fetch("/v1/imports")["by"] == "web"
    for connection in held[:-1]:
        connection.send(b"x")
        assert json.loads(connection.getresponse().read())["size"] == 2
    assert front.fetch("/v1/imports", method="POST", body=b"x")["size"] == 1


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


def test_what_it_writes_stays_in_its_own_directory(front: Front) -> None:
    own = front.web.path.parent / "nginx"
    assert {path.name for path in own.iterdir()} >= {"nginx.pid", "body", "proxy"}
    assert own.stat().st_mode & 0o077 == 0


def test_a_request_waits_for_an_upstream_that_restarts(front: Front) -> None:
    path = front.web.path
    front.web.stop()
    path.unlink()
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(
        target=lambda: answers.append(front.fetch("/otlp/v1/logs", method="POST", body=b"x" * 70_000))
    )
    asking.start()
    asking.join(0.3)
    assert asking.is_alive()
    assert not answers
    front.web = Upstream("web", path).start()
    asking.join(20)
    assert answers[0]["size"] == 70_000


def test_large_batches_go_to_one_intake_as_long_as_that_has_none(front: Front) -> None:
    """It is the quicker for it; what comes meanwhile goes to another, and small ones go to all of them."""

    def at(size: int, path: str = "/v1/events") -> str:
        name: str = front.fetch(path, method="POST", body=b"x" * size)["at"]
        return name

    first, second = front.intake
    assert {at(100_000) for _ in range(4)} == {first.path.name}
    assert {at(99_999) for _ in range(4)} == {first.path.name, second.path.name}
    held: list[str] = []
    first.next_part.clear()
    holding = threading.Thread(target=lambda: held.append(at(400_000, "/v1/events?hold")))
    holding.start()
    assert first.holds.wait(20)
    assert {at(100_000) for _ in range(4)} == {second.path.name}
    first.next_part.set()
    holding.join(20)
    assert held == [first.path.name]
    assert at(100_000) == first.path.name


def test_an_intake_that_is_away_is_passed_by_and_both_are_waited_for(front: Front) -> None:
    first, second = front.intake
    first.stop()
    first.path.unlink()
    begun = time.monotonic()
    for _ in range(6):
        assert front.fetch("/v1/track", method="POST", body=b"{}")["by"] == "intake"
    # Large ones, which would rather go to the first.
    for _ in range(2):
        assert front.fetch("/v1/events", method="POST", body=b"x" * 200_000)["at"] == second.path.name
    assert time.monotonic() - begun < 5, "nobody waits for one as long as there is another"
    second.stop()
    second.path.unlink()
    answers: list[dict[str, Any]] = []
    asking = threading.Thread(target=lambda: answers.append(front.fetch("/v1/track", method="POST", body=b"{}")))
    asking.start()
    asking.join(0.3)
    assert asking.is_alive()
    front.intake = [Upstream("intake", each.path).start() for each in (first, second)]
    asking.join(20)
    assert answers[0]["by"] == "intake"
    assert front.fetch("/v1/events", method="POST", body=b"{}")["by"] == "intake"


def test_an_upstream_that_stays_away_is_a_problem_that_says_when_to_come_again(tmp_path: Path) -> None:
    port = free_port()
    command, env = front_command(tmp_path, "127.0.0.1", port, web=tmp_path / "none", realtime=tmp_path / "none")
    with subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, cwd=tmp_path) as process:
        try:
            # Each answer takes all its pauses: one is enough.
            answers: list[tuple[int, dict[str, str], bytes]] = []
            wait_for(lambda: bool(answers.extend(_answer(port)) or answers), what="the front")
        finally:
            process.terminate()
    ((status, headers, body),) = answers
    assert (status, headers["Content-Type"], headers["Retry-After"]) == (503, "application/problem+json", "2")
    assert json.loads(body)["code"] == "unavailable"


def _answer(port: int) -> list[tuple[int, dict[str, str], bytes]]:
    """What is answered: nothing while nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/health/live")
        answer = connection.getresponse()
        return [(answer.status, dict(answer.headers), answer.read())]
    except OSError:
        return []


def test_a_request_that_was_sent_is_not_sent_again(front: Front) -> None:
    connection = front.connection()
    connection.request("POST", "/drop", body=b"once")
    assert connection.getresponse().status == 503
    assert front.web.dropped == 1


def test_every_method_of_http_passes(front: Front) -> None:
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert front.fetch("/v1/x", method=method, body=b"{}")["by"] == "web"
