"""HTTP/1.1 as the front speaks it to its upstreams: connections that stay, one request after the other."""

import asyncio
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import unquote

import httptools

__all__ = ["Connection", "Environ", "Headers", "Taker"]

# A request as WSGI has it, as far as it is known from its head.
Environ = dict[str, Any]
Headers = Iterable[tuple[str, str]]


class Taker(Protocol):
    """What requests are handed to."""

    most_bytes: int
    is_full: bool
    is_ending: bool
    connections: "set[Connection]"

    def take(self, connection: "Connection", environ: Environ, body: bytes) -> None:
        """A request has come; the connection's :meth:`Connection.answer` is called once for it."""

    def hold(self, size: int) -> None:
        """So many bytes more of requests are held, or less."""


@lru_cache(maxsize=1024)
def _key(name: bytes) -> str:
    key = name.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


@lru_cache(maxsize=64)
def _status(status: int) -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    return f"HTTP/1.1 {status} {reason}\r\n".encode("ascii")


class Connection(asyncio.Protocol):
    """A connection: what comes on it is parsed, and handed over one request at a time, whatever is sent at once."""

    def __init__(self, taker: Taker) -> None:
        self._taker = taker
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Environ, bytes, int, bool]] = deque()
        self._environ: Environ = {}
        self._body: list[bytes] = []
        self._size = 0
        # Of the request that is under way: its size, and whether another may follow.
        self._under_way: tuple[int, bool] | None = None
        self._is_amid = self._is_paused = False

    @property
    def is_busy(self) -> bool:
        """Whether a request has begun to come, or has no answer yet."""
        return self._is_amid or self._under_way is not None

    def pause(self) -> None:
        """Read nothing more for now, unless the rest of a request is to come."""
        if self._transport is not None and not self._is_amid and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and self._is_paused:
            self._transport.resume_reading()
        self._is_paused = False

    def close(self) -> None:
        """Close it once all is sent that was written."""
        if self._transport is not None:
            self._transport.close()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer the request that is under way, and go on with the next."""
        named = "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("latin-1")
        self.write(b"%s%s\r\n%s" % (_status(status), named, body))

    def write(self, answer: bytes) -> None:
        """:meth:`answer` with all of it, as it is sent."""
        if self._transport is not None:
            self._transport.write(answer)
        size, may_follow = self._under_way or (0, False)
        self._under_way = None
        self._taker.hold(-size)
        if not may_follow or (self._taker.is_ending and not self._waiting):
            self.close()
        elif self._waiting:
            self._begin(*self._waiting.popleft())

    # ------------------------------------------------------------ the transport's
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._taker.connections.add(self)
        if self._taker.is_full:
            self.pause()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._taker.connections.discard(self)
        # What is under way is finished all the same; of the rest nobody has heard.
        self._taker.hold(-self._size - sum(size for _, _, size, _ in self._waiting))
        self._waiting.clear()
        self._size, self._body = 0, []

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # The front asks for no other protocol, whatever its clients wish for.
            if self._transport is not None:
                self._transport.write(_status(400) + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            self.close()

    # ------------------------------------------------------------ the parser's
    def on_message_begin(self) -> None:
        self._environ, self._body, self._size, self._is_amid = {"SCRIPT_NAME": ""}, [], 0, True

    def on_url(self, url: bytes) -> None:
        self._environ["PATH_INFO"] = self._environ.get("PATH_INFO", "") + url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = _key(name), value.decode("latin-1")
        known = self._environ.get(key)
        self._environ[key] = text if known is None else f"{known},{text}"

    def on_headers_complete(self) -> None:
        path, _, self._environ["QUERY_STRING"] = self._environ["PATH_INFO"].partition("?")
        self._environ["PATH_INFO"] = unquote(path, "latin-1") if "%" in path else path
        self._environ["REQUEST_METHOD"] = self._parser.get_method().decode("ascii")
        if self._transport is not None and self._environ.get("HTTP_EXPECT", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        # What is too large is read to its end, so that its client sees the answer; it is not kept.
        if self._size <= self._taker.most_bytes:
            self._body.append(body)
            self._size += len(body)
            self._taker.hold(len(body))

    def on_message_complete(self) -> None:
        if self._parser.should_upgrade():
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = self._environ, body, self._size, self._parser.should_keep_alive()
        self._environ, self._body, self._size, self._is_amid = {}, [], 0, False
        if self._under_way is None:
            self._begin(*request)
        else:
            self._waiting.append(request)
        if self._taker.is_full:
            self.pause()

    def _begin(self, environ: Environ, body: bytes, size: int, may_follow: bool) -> None:
        self._under_way = size, may_follow
        self._taker.take(self, environ, body)
