"""Requests as bytes, however they come: parsed, handed over one at a time, answered in order."""

import asyncio
from typing import Any, cast

import pytest

from mindweave.intake.connection import Connection, Environ


class Transport:
    """What a connection writes to."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = self.is_paused = False

    def write(self, data: bytes) -> None:
        assert not self.is_closed
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False


class Requests:
    """Takes requests, and says how much is held."""

    most_bytes = 100

    def __init__(self) -> None:
        self.taken: list[tuple[Environ, bytes]] = []
        self.held = 0
        self.is_full = self.is_ending = False
        self.connections: set[Connection] = set()

    def take(self, connection: Connection, environ: Environ, body: bytes) -> None:
        self.taken.append((environ, body))

    def hold(self, size: int) -> None:
        self.held += size


def connected(taker: Requests) -> tuple[Connection, Transport]:
    transport, connection = Transport(), Connection(taker)
    connection.connection_made(cast(asyncio.BaseTransport, transport))
    return connection, transport


def post(body: bytes, *headers: str, path: str = "/v1/events?a=b") -> bytes:
    named = "".join(f"{each}\r\n" for each in headers)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{named}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_request_is_the_same_in_whatever_pieces_it_comes() -> None:
    sent = post(b'{"events": []}', "X-API-Key: mw_1", "Content-Type: application/json", "X-Two: a", "X-Two: b")
    for size in (1, 2, 7, 50, len(sent)):
        taker = Requests()
        connection, _ = connected(taker)
        for start in range(0, len(sent), size):
            connection.data_received(sent[start : start + size])
        ((environ, body),) = taker.taken
        assert body == b'{"events": []}'
        assert environ == {
            "SCRIPT_NAME": "", "PATH_INFO": "/v1/events", "QUERY_STRING": "a=b", "REQUEST_METHOD": "POST",
            "HTTP_HOST": "x", "HTTP_X_API_KEY": "mw_1", "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": "14",
            "HTTP_X_TWO": "a,b",
        }  # fmt: skip
        assert taker.held == 14


def test_a_path_is_what_it_spells() -> None:
    taker = Requests()
    connection, _ = connected(taker)
    connection.data_received(post(b"", path="/v1/%65v%C3%A9?a=%41"))
    ((environ, _),) = taker.taken
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/v1/evé"
    assert environ["QUERY_STRING"] == "a=%41"


def test_what_is_sent_at_once_is_answered_one_after_the_other() -> None:
    taker = Requests()
    connection, transport = connected(taker)
    connection.data_received(post(b"first") + post(b"second") + post(b"third", "Connection: close"))
    assert [body for _, body in taker.taken] == [b"first"]
    connection.answer(202, [("Content-Length", "1")], b"1")
    assert [body for _, body in taker.taken] == [b"first", b"second"]
    assert taker.held == len("secondthird")
    connection.answer(400, [("Content-Length", "1")], b"2")
    assert not transport.is_closed
    connection.answer(202, [("Content-Length", "1")], b"3")
    assert transport.is_closed, "it was to be the last one"
    assert transport.written == (
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\n\r\n1"
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1\r\n\r\n2"
        b"HTTP/1.1 202 Accepted\r\nContent-Length: 1\r\n\r\n3"
    )
    assert taker.held == 0


def test_of_a_body_that_is_too_large_no_more_is_kept_than_shows_it() -> None:
    taker = Requests()
    connection, _ = connected(taker)
    sent = post(b"x" * 1000)
    for start in range(0, len(sent), 60):
        connection.data_received(sent[start : start + 60])
    ((environ, body),) = taker.taken
    assert environ["CONTENT_LENGTH"] == "1000"
    assert 100 < len(body) <= 160
    connection.answer(413, [], b"")
    assert taker.held == 0


def test_whoever_waits_for_leave_to_send_gets_it() -> None:
    connection, transport = connected(Requests())
    connection.data_received(post(b"", "Expect: 100-continue").replace(b"Content-Length: 0", b"Content-Length: 3"))
    assert transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01",
        post(b"x", "Connection: Upgrade", "Upgrade: h2c"),
    ],
)
def test_what_is_no_request_is_told_so_and_closed(sent: bytes) -> None:
    taker = Requests()
    connection, transport = connected(taker)
    connection.data_received(sent)
    assert transport.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert transport.is_closed
    assert not taker.taken


def test_a_pause_lets_what_has_begun_come_to_its_end() -> None:
    taker = Requests()
    taker.is_full = True
    late, of_late = connected(taker)
    assert of_late.is_paused
    late.resume()
    sent = post(b"abcdef")
    late.data_received(sent[:-3])
    late.pause()
    assert not of_late.is_paused, "the rest of it is to come"
    late.data_received(sent[-3:])
    assert of_late.is_paused
    assert [body for _, body in taker.taken] == [b"abcdef"]
    late.answer(202, [], b"")
    late.resume()
    assert not of_late.is_paused


def test_who_leaves_leaves_nothing_held() -> None:
    taker = Requests()
    connection, _ = connected(taker)
    connection.data_received(post(b"first") + post(b"second") + post(b"third")[:-2])
    assert taker.held == len("firstsecondthi")
    connection.connection_lost(None)
    assert taker.connections == set()
    assert taker.held == len("first"), "what is under way is finished all the same"
    connection.answer(202, [], b"")
    assert taker.held == 0
    assert len(taker.taken) == 1


def test_when_all_is_to_end_a_connection_ends_with_its_last_answer() -> None:
    taker: Any = Requests()
    connection, transport = connected(taker)
    connection.data_received(post(b"first") + post(b"second"))
    taker.is_ending = True
    assert connection.is_busy
    connection.answer(202, [], b"")
    assert not transport.is_closed
    connection.answer(202, [], b"")
    assert transport.is_closed
