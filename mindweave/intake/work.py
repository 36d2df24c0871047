"""Requests that take events in, worked on together on the loop's thread; what needs more goes through the lane."""

import asyncio
import logging
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any, cast

from django.conf import settings
from django.db import connection as django_connection
from django.http import HttpRequest

from apps.core import clock
from apps.core.context import RequestContext, bind_new
from apps.core.contracts import ANONYMOUS
from apps.core.middleware import context_of
from apps.core.telemetry import is_configured as traced
from apps.projects.contracts import KeyContext
from apps.usage.api.ingest import answer_of, limit_requests
from apps.usage.ingest.inbox import InboxRow, gauge
from apps.usage.ingest.sending import Sender
from apps.usage.pricing.book import is_book_young
from apps.usage.services import TURN_BYTES, SentBatch, admitted_rows, commit_rows, take_batches, told
from mindweave.intake.connection import Connection, Environ, Headers
from mindweave.intake.learning import Caller, Learning, caller_of, known_key
from mindweave.lane import OWN_HEADERS, Lane, LaneRequest, refusal

__all__ = ["Intake"]

logger = logging.getLogger(__name__)

# Requests that go through the lane at a time.
_THREADS = 8
# Bytes of requests that are held; beyond, no new ones are read until half of it is answered.
_MOST_HELD = 64 << 20
# How often it is looked whether the loop's thread asked the database.
_LOOK_SECONDS = 1.0
_SINGLE = "/v1/track"
_PATHS = ("/v1/events", _SINGLE)
_HEAD = (
    "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in OWN_HEADERS)
).encode("latin-1")


@dataclass(slots=True, eq=False)
class _Work:
    """A request of the usual kind that is under way; ``limits`` are the headers of its key's limit."""

    connection: Connection
    environ: Environ
    context: RequestContext
    batch: SentBatch
    limits: Headers = ()


class Intake:
    """Takes requests, works on what waits together, has it committed, and answers. All on the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lane: Lane) -> None:
        self._loop, self._lane = loop, lane
        self._pool = ThreadPoolExecutor(_THREADS, "lane")
        self._sender = Sender(loop)
        self._sender.open()
        self._learning = Learning(loop)
        self._waiting: deque[_Work] = deque()
        self._size = self._held = 0
        self._is_due = False
        # So that the lane sees, and says, that a body is too large.
        self.most_bytes = settings.MAX_BODY_BYTES + 1
        self.is_full = self.is_ending = False
        self.connections: set[Connection] = set()
        loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Say so where the loop's thread asked the database itself, which nobody would notice but by waiting."""
        if django_connection.connection is not None:
            logger.error("the intake's loop asked the database, and all its requests waited for that")
            django_connection.close()
        if not self.is_ending:
            self._loop.call_later(_LOOK_SECONDS, self._look)

    def hold(self, size: int) -> None:
        self._held += size
        if not self.is_full and self._held > _MOST_HELD:
            self.is_full = True
            for connection in self.connections:
                connection.pause()
        elif self.is_full and 2 * self._held < _MOST_HELD:
            self.is_full = False
            for connection in self.connections:
                connection.resume()

    def take(self, connection: Connection, environ: Environ, body: bytes) -> None:
        """A request has come."""
        caller = caller_of(_request_of(environ)) if self._is_usual(environ, body) else None
        if caller is None:
            self._by_lane(connection, environ, body)
        elif (key := known_key(caller)) is not None:
            self._take(connection, environ, body, key)
        else:
            self._learning.learn(caller, partial(self._take_learned, connection, environ, body, caller))

    def _take_learned(self, connection: Connection, environ: Environ, body: bytes, caller: Caller) -> None:
        """What is not known even now is refused, or asked once more, by the lane."""
        key = known_key(caller) if self._is_usual(environ, body) else None
        if key is None:
            self._by_lane(connection, environ, body)
        else:
            self._take(connection, environ, body, key)

    def _take(self, connection: Connection, environ: Environ, body: bytes, key: KeyContext) -> None:
        batch = SentBatch(
            key, clock.now(), body, environ.get("CONTENT_TYPE", ""), is_single=environ["PATH_INFO"] == _SINGLE
        )
        context = RequestContext(actor=ANONYMOUS, **context_of(_request_of(environ)))
        work = _Work(connection, environ, context, batch)
        if key.unlimited:
            self._add(work)
        else:
            self._limit(work)

    def _is_usual(self, environ: Environ, body: bytes) -> bool:
        """Whether a request has nothing unusual and nobody need be asked, as far as is known without its key."""
        return (
            environ["REQUEST_METHOD"] == "POST"
            and environ["PATH_INFO"] in _PATHS
            and "HTTP_CONTENT_ENCODING" not in environ
            and len(body) <= settings.MAX_BODY_BYTES
            and not traced()
            and self._sender.can_send()
            and gauge.is_young
            and is_book_young()
        )

    def _limit(self, work: _Work) -> None:
        """Have Redis count the request against its key's limit first."""

        def counted(future: Any) -> None:
            if (error := future.exception()) is not None:
                self._refuse(work, error)
                return
            if (result := future.result()) is not None:
                work.limits = tuple(result.headers().items())
            self._add(work)

        self._loop.run_in_executor(self._pool, limit_requests, work.batch.key).add_done_callback(counted)

    # ------------------------------------------------------------ turns
    def _add(self, work: _Work) -> None:
        self._waiting.append(work)
        self._size += work.batch.size
        self._plan()

    def _plan(self) -> None:
        """Have a turn soon, of what waits then; a little of it gathers as long as a commit is under way anyway."""
        if not self._is_due and self._waiting and (4 * self._size >= TURN_BYTES or self._sender.is_idle):
            self._is_due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        works = [self._waiting.popleft()]
        size = works[0].batch.size
        while self._waiting and size + self._waiting[0].batch.size <= TURN_BYTES:
            works.append(self._waiting.popleft())
            size += works[-1].batch.size
        self._size -= size
        self._is_due = False
        self._work_on(works)
        self._plan()

    def _work_on(self, works: list[_Work]) -> None:
        batches = [work.batch for work in works]
        try:
            take_batches(batches)
            rows, waste = admitted_rows(batches)
        except Exception as error:
            for work in works:
                self._refuse(work, error)
            return
        if rows:
            self._sender.send(rows, lambda error: self._committed(works, rows, error))
        else:
            self._tell(works)
        # While PostgreSQL commits.
        waste.clear()

    def _committed(self, works: list[_Work], rows: list[InboxRow], error: BaseException | None) -> None:
        if error is None:
            self._tell(works)
            self._plan()
            return
        # Whether it was committed is not known then; it does not matter, since an id counts once.
        logger.info("%d rows are committed once more: %s", len(rows), error)

        def done(future: Any) -> None:
            if (error := future.exception()) is None:
                self._tell(works)
            for work in works if error is not None else ():
                self._refuse(work, work.batch.error or error)
            self._plan()

        self._loop.run_in_executor(self._pool, commit_rows, rows).add_done_callback(done)

    def _tell(self, works: list[_Work]) -> None:
        for work in works:
            taken = work.batch.taken
            if taken is None:
                self._refuse(work, work.batch.error or RuntimeError("nothing was made of it"))
            elif any(built.outside for built in taken.parts):
                # It may be told on the bus, which is a transaction.
                self._tell_on_thread(work)
            else:
                try:
                    body = _told(work)
                except Exception as error:
                    self._refuse(work, error)
                else:
                    _accept(work, body)

    def _tell_on_thread(self, work: _Work) -> None:
        def done(future: Any) -> None:
            if (error := future.exception()) is not None:
                self._refuse(work, error)
            else:
                _accept(work, future.result())

        self._loop.run_in_executor(self._pool, _told, work).add_done_callback(done)

    @staticmethod
    def _refuse(work: _Work, error: BaseException) -> None:
        with bind_new(work.context):
            refused = refusal(error, work.environ | _rest_of(b""), work.context.correlation_id)
        work.connection.answer(*refused)

    # ------------------------------------------------------------ through the lane
    def _by_lane(self, connection: Connection, environ: Environ, body: bytes) -> None:
        environ |= _rest_of(body)
        is_head = environ["REQUEST_METHOD"] == "HEAD"

        def work() -> tuple[int, Headers, bytes]:
            said: list[Any] = []
            content = b"".join(self._lane(environ, lambda status, headers: said.extend((status, headers))))
            return int(said[0][:3]), said[1], b"" if is_head else content

        def done(future: Any) -> None:
            if (error := future.exception()) is not None:
                logger.error("a request failed", exc_info=error)
                connection.answer(500, [("Content-Length", "0")], b"")
            else:
                connection.answer(*future.result())

        self._loop.run_in_executor(self._pool, work).add_done_callback(done)

    # ------------------------------------------------------------ the end
    async def end(self) -> None:
        """Answer what has come, then close."""
        self.is_ending = True
        while self.connections:
            for connection in list(self.connections):
                if not connection.is_busy:
                    connection.close()
            await asyncio.sleep(0.01)
        self._sender.close()
        self._learning.close()
        self._pool.shutdown(wait=False)


def _request_of(environ: Environ) -> HttpRequest:
    return cast(HttpRequest, LaneRequest(environ))


def _told(work: _Work) -> bytes:
    assert work.batch.taken is not None
    with bind_new(work.context):
        return answer_of(told(work.batch.taken), work.batch)


def _accept(work: _Work, body: bytes) -> None:
    limits = "".join([f"{name}: {value}\r\n" for name, value in work.limits])
    rest = f"{limits}X-Correlation-Id: {work.context.correlation_id}\r\nContent-Length: {len(body)}\r\n\r\n"
    work.connection.write(b"%s%s%s" % (_HEAD, rest.encode("latin-1"), body))


def _rest_of(body: bytes) -> Environ:
    """What a WSGI application expects beside the head of a request."""
    return {
        "wsgi.input": BytesIO(body), "wsgi.url_scheme": "http", "wsgi.errors": sys.stderr, "wsgi.version": (1, 0),
        "wsgi.multithread": True, "wsgi.multiprocess": True, "wsgi.run_once": False, "SERVER_NAME": "localhost",
        "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "",
    }  # fmt: skip
