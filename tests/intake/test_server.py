"""The intake as its callers see it: it answers as the lane does, at once and in whatever state the database is."""

import gzip
import io
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from django.db import connection

from apps.usage.services import register_tag_key
from mindweave.wsgi import application
from tests.intake.conftest import Server
from tests.usage.engine.conftest import World, event, make_world, rows, value
from tests.waiting import wait_for

pytestmark = [pytest.mark.usefixtures("committed"), pytest.mark.processes]

# What differs from answer to answer.
_ITS_OWN = {"date", "x-correlation-id", "server", "connection"}


def by_lane(path: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], Any]:
    """What the lane answers, in this process."""
    said: list[Any] = []
    environ = {
        "REQUEST_METHOD": "POST", "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": "", "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "wsgi.input": io.BytesIO(body), "wsgi.url_scheme": "http", "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": headers["Content-Type"], "HTTP_HOST": "localhost",
        **{f"HTTP_{name.upper().replace('-', '_')}": text for name, text in headers.items() if name != "Content-Type"},
    }  # fmt: skip
    content = b"".join(application(environ, lambda status, named: said.extend((status, named))))
    return int(said[0][:3]), {name.lower(): text for name, text in said[1]}, content


def requests(world: World) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Path, body and headers of all sorts of requests; ``Authorization`` is the usual one where there is none."""
    many = [event() for _ in range(3)]
    yield "/v1/events", orjson.dumps({"events": many}), {}
    yield "/v1/events", orjson.dumps({"events": [*many, many[0], event(event_id="x"), event(model="a\0b")]}), {}
    yield "/v1/events", b"\n".join(orjson.dumps(event()) for _ in range(4)), {"Content-Type": "application/x-ndjson"}
    yield "/v1/events", gzip.compress(orjson.dumps({"events": many})), {"Content-Encoding": "gzip"}
    yield "/v1/events", b"not gzip", {"Content-Encoding": "gzip"}
    yield "/v1/events", b"{", {}
    yield "/v1/events", b"\xff", {}
    yield "/v1/events", b"", {}
    yield "/v1/events", b'{"events": []}', {}
    yield "/v1/events", orjson.dumps({"events": [{}] * 5001}), {}
    yield "/v1/events", orjson.dumps({"events": [event(org_id=str(uuid4()))]}), {}
    yield "/v1/track", orjson.dumps(event()), {}
    yield "/v1/track", orjson.dumps(event(event_id="x")), {}
    yield "/v1/track", orjson.dumps(event(timestamp="2020-01-01T00:00:00Z")), {}
    yield "/v1/track", b"[]", {}
    for authorization in ("", "Bearer mw_unknown", "Basic x"):
        yield "/v1/events", orjson.dumps({"events": many}), {"Authorization": authorization}
    reader = make_world("reader", scopes=["read"])
    yield "/v1/events", orjson.dumps({"events": many}), {"Authorization": f"Bearer {reader.token}"}


def test_each_request_is_answered_as_the_lane_answers_it(server: Server, world: World) -> None:
    with server.client(world) as client:
        # The first is one of a key that the process knows nothing of, the second one of the usual kind.
        asked = list(requests(world))
        for _ in range(2):
            for path, body, more in asked:
                headers = {"Authorization": f"Bearer {world.token}", "Content-Type": "application/json", **more}
                found = client.post(path, content=body, headers=headers)
                status, named, content = by_lane(path, body, headers)
                where = (path, body[:80], more)
                assert found.status_code == status, where
                expected = {name: text for name, text in named.items() if name not in _ITS_OWN}
                assert {name: text for name, text in found.headers.items() if name not in _ITS_OWN} == expected, where
                mine, its = (orjson.loads(text) for text in (found.content, content))
                assert mine.pop("correlation_id", None) == found.headers["X-Correlation-Id"] or status == 202
                its.pop("correlation_id", None)
                assert mine == its, where


def test_other_methods_and_paths_go_through_the_lane(server: Server, world: World) -> None:
    with server.client(world) as client:
        assert client.get("/v1/events").json()["code"] == "scope_missing"
        assert client.head("/health/live").content == b""
        assert client.put("/v1/track", content=b"{}").status_code == 405
        assert client.get("/nothing/here").status_code == 404


def test_a_limited_key_is_told_of_its_limit_and_refused_beyond(server: Server) -> None:
    with server.client(make_world("limited", rate_limit_per_minute=3)) as client:
        found = [client.post("/v1/track", content=orjson.dumps(event())) for _ in range(5)]
    assert [answer.status_code for answer in found] == [202, 202, 202, 429, 429]
    assert [answer.headers["RateLimit"].split(";")[1] for answer in found] == ["r=2", "r=1", "r=0", "r=0", "r=0"]
    assert found[-1].json()["code"] == "rate_limited"
    assert int(found[-1].headers["Retry-After"]) > 0


class Senders:
    """Threads that send events, batches and single ones by turns, and count what was acknowledged."""

    def __init__(self, server: Server, world: World, threads: int) -> None:
        self.acknowledged: list[int] = []
        self.failed: list[object] = []
        self._server, self._world = server, world
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def _send(self, n: int) -> None:
        with self._server.client(self._world) as client:
            while not self._stop.is_set():
                size = 1 + 7 * (n % 3)
                events = [event(session_id=f"s{n}") for _ in range(size)]
                single = size == 1
                body = orjson.dumps(events[0] if single else {"events": events})
                for _ in range(50):
                    try:
                        found = client.post("/v1/track" if single else "/v1/events", content=body)
                    except httpx.TransportError:
                        continue
                    if found.status_code == 202:
                        self.acknowledged.append(size)
                        break
                    if found.status_code != 503:
                        self.failed.append(found.text)
                        return

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def test_many_at_once_while_connections_to_the_database_are_cut_count_once(
    server: Server, world: World, drain: Callable[[], None]
) -> None:
    register_tag_key(org_id=world.org_id, key="department")
    senders = Senders(server, world, 9)
    for _ in range(4):
        threading.Event().wait(0.6)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
    threading.Event().wait(0.6)
    senders.end()
    assert senders.failed == []
    assert len(senders.acknowledged) > 50
    drain()
    assert rows("SELECT count(*), count(DISTINCT event_id) FROM usage_event") == [(sum(senders.acknowledged),) * 2]


def test_told_to_end_it_answers_what_has_come(own_server: Server, world: World, drain: Callable[[], None]) -> None:
    with own_server.client(world) as client:
        assert client.post("/v1/track", content=orjson.dumps(event())).status_code == 202
    body = orjson.dumps({"events": [event() for _ in range(3000)]})
    with socket.create_connection(("127.0.0.1", own_server.port), timeout=30) as connected:
        head = f"POST /v1/events HTTP/1.1\r\nAuthorization: Bearer {world.token}\r\nExpect: 100-continue\r\n"
        connected.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        assert connected.recv(1000).startswith(b"HTTP/1.1 100 ")
        # A request has begun to come, of which there is no answer yet.
        own_server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not own_server.is_listening(), what="the end of its listening")
        connected.sendall(body)
        assert connected.recv(1000).startswith(b"HTTP/1.1 202 ")
    assert own_server.process.wait(10) == 0
    drain()
    assert value("SELECT count(*) FROM usage_event") == 3001
