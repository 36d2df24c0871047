"""The load: realistic bodies made by numpy, sent open-loop, every acknowledged event remembered for the count.

450 bytes an event, 150 more where they are to be searched: each has a request id of its own then, and a source, a tag,
a stop reason or an error; some are tool calls. A batch is one organisation's (its key's). Some
batches are sent again as they were, some ids come again in a later batch with another timestamp and other figures; both
must count once.
"""

import asyncio
import os
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np

__all__ = ["Account", "Load", "Outcome", "percentile", "session_of"]

MODELS = ("claude-opus-5", "claude-sonnet-5-5", "claude-haiku-4-5", "claude-opus-4-8", "claude-sonnet-4-6")
EVENT_BYTES = 450
_SEARCHED_BYTES = 150
DEPARTMENTS = tuple(f"department-{n:02}" for n in range(12))
SOURCES = ("sdk", "claude-code", "proxy", "notebook")
SERVERS = ("files", "github", "search", "tickets", "warehouse", "wiki")
TOOLS = tuple(f"tool-{n}" for n in range(5))
ERRORS = ("overloaded_error", "rate_limit_error", "api_error", "timeout_error")
STOPS = ("end_turn", "tool_use", "max_tokens")
# Where requests are due at shorter intervals (seconds), some of them are made at once.
_SHORT = 0.004
# So many requests are made ahead, and so many under way are waited for before the next is made.
_AHEAD, _HARDLY_ANY = 3, 4
# Of large batches one in so many is kept to be sent again.
_KEPT_ONE_IN = 10
_MILLIS = np.frombuffer(b"".join(b"%03d" % n for n in range(1000)), dtype=np.uint8).reshape(1000, 3)


# Status and body.
_Answer = asyncio.Future[tuple[int, bytes]]


@dataclass(frozen=True)
class Account:
    """A key and what its events name."""

    token: str
    org_id: UUID
    project_id: UUID
    users: tuple[UUID, ...]


@dataclass
class Outcome:
    """What was acknowledged: expected sums, and times in seconds."""

    sent_events: int = 0
    acknowledged_events: int = 0
    expected_events: int = 0
    expected_input: int = 0
    expected_output: int = 0
    refused_requests: int = 0
    failed_requests: int = 0
    latencies: list[float] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)  # in which second each of them was due
    first: float = 0.0
    last: float = 0.0
    cpu_seconds: float = 0.0


def _call(rng: np.random.Generator) -> str:
    return f'"event_type":"api_call","model":"{_one(rng, MODELS)}",'


def _varied(rng: np.random.Generator, person: int, *, failed: bool) -> str:
    """What else searches are by, up to where the metadata has its tag: a person is mostly of one department."""
    if rng.random() < 0.15:
        kind = f'"event_type":"mcp_tool","mcp_server":"{_one(rng, SERVERS)}","mcp_tool":"{_one(rng, TOOLS)}",'
    else:
        kind = _call(rng)
        if not failed:
            kind += f'"stop_reason":"{STOPS[int(rng.choice(3, p=(0.8, 0.15, 0.05)))]}",'
    if failed:
        kind += f'"error_type":"{_one(rng, ERRORS)}",'
    department = DEPARTMENTS[person % 12] if rng.random() < 0.95 else _one(rng, DEPARTMENTS)
    return f'{kind}"source":"{_one(rng, SOURCES)}","metadata":{{"department":"{department}",'


def _one(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def event_size(*, requests: bool) -> int:
    """Bytes of an event with its comma."""
    return EVENT_BYTES + (_SEARCHED_BYTES if requests else 0)


def session_of(user: UUID) -> str:
    """A person's session: the random end of the id, since those made in one millisecond begin alike."""
    return f"s-{user.hex[-12:]}"


class _Template:
    """Events of one account, all of one length, so that ids and times are written column by column.

    They are written where they are sent from: ``around`` is what comes before the first and, in the place of its comma,
    after the last one.
    """

    def __init__(
        self, account: Account, batch: int, rng: np.random.Generator, *, requests: bool, around: tuple[bytes, bytes]
    ) -> None:
        self.size = event_size(requests=requests)
        request_at: list[int] = []
        self.batch = batch
        self.inputs = rng.integers(10, 9999, batch)
        self.outputs = rng.integers(10, 999, batch)
        head, middle = '{"event_id":"', '","timestamp":"'
        texts = []
        for i in range(batch):
            person = int(rng.integers(len(account.users)))
            user = account.users[person]
            failed = rng.random() >= 0.98
            event = (
                f"{head}{'0' * 8}-{'0' * 4}-{'0' * 4}-{'0' * 4}-{'0' * 12}{middle}2026-01-01T00:00:00.000Z"
                f'","org_id":"{account.org_id}","project_id":"{account.project_id}","user_id":"{user}",'
                f'"input_tokens":{self.inputs[i]},"output_tokens":{self.outputs[i]},'
                f'"latency_ms":{int(rng.lognormal(7, 0.8))},"session_id":"{session_of(user)}",'
                f'"status":"{"error" if failed else "ok"}",'
            )
            if requests:
                request_at.append(len(event) + len('"request_id":"req_'))
                event += f'"request_id":"req_{"0" * 20}",{_varied(rng, person, failed=failed)}"turn":{i % 50},"trace":"'
            else:
                event += f'{_call(rng)}"metadata":{{"turn":{i % 50},"trace":"'
            texts.append(
                event + "".join("0123456789abcdef"[d] for d in rng.integers(0, 16, self.size - 4 - len(event)))
            )
        before, after = around
        self._whole = bytearray(b"".join((before, b",".join(f'{text}"}}}}'.encode() for text in texts), after)))
        self._events = slice(len(before), len(before) + batch * self.size)
        self.free = [self._whole]
        self.requests = np.array(request_at, dtype=np.int64)[:, None]
        self.id_at, self.time_at = len(head), len(head) + 36 + len(middle)

    def make(self, ids: bytes, now_ms: int) -> bytearray:
        """All of it with these ids (16 bytes each), spread over the last second; of :attr:`free` once it is sent."""
        whole = self.free.pop() if self.free else bytearray(self._whole)
        rows = np.frombuffer(whole, dtype=np.uint8)[self._events].reshape(self.batch, self.size)
        digits = np.frombuffer(ids.hex().encode(), dtype=np.uint8).reshape(self.batch, 32)
        at = self.id_at
        for start, end, place in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
            rows[:, at + place : at + place + end - start] = digits[:, start:end]
        if len(self.requests):
            rows[np.arange(self.batch)[:, None], self.requests + np.arange(20)] = digits[:, :20]
        first = now_ms - 1000
        moments = first + np.arange(self.batch) * 1000 // self.batch
        seconds = moments // 1000
        at = self.time_at
        for second in np.unique(seconds).tolist():
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
            rows[seconds == second, at : at + 19] = np.frombuffer(text, dtype=np.uint8)
        rows[:, at + 20 : at + 23] = _MILLIS[moments % 1000]
        return whole


@dataclass(frozen=True, slots=True)
class _Piece:
    """A request and what of it is to be counted; what can be written anew is the template's once it is sent."""

    which: int
    request: bytes | bytearray
    ids: np.ndarray | None = None
    fresh: np.ndarray | None = None
    place: int = 0


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self) -> None:
        self._waiter: _Answer | None = None
        self._answer = b""
        self.transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, host: str, port: int) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, host, port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        found = _complete(self._answer)
        if found is not None:
            self._answer = b""
            if self._waiter and not self._waiter.done():
                self._waiter.set_result(found)

    @property
    def left(self) -> int:
        """Bytes that are still to be sent."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    def send(self, request: bytes | bytearray) -> _Answer:
        """Send a request; the future has its status and body."""
        self._waiter = asyncio.get_running_loop().create_future()
        if self.transport is None:
            self._waiter.set_exception(ConnectionError("closed"))
        else:
            self.transport.write(request)
        return self._waiter


def _complete(answer: bytes) -> tuple[int, bytes] | None:
    """Status and body, once all is there."""
    head, found, rest = answer.partition(b"\r\n\r\n")
    if not found:
        return None
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        whole = rest.endswith(b"0\r\n\r\n")
    else:
        start = lower.index(b"content-length:") + 15
        whole = len(rest) >= int(lower[start:].split(b"\r\n", 1)[0])
    return (int(head[9:12]), rest) if whole else None


class Load:
    """Sends ``rate`` events a second for ``seconds``: requests are due by the clock, whatever is answered meanwhile."""

    def __init__(
        self, url: str, accounts: list[Account], *, rate: int, seconds: float, batch: int, connections: int = 32,
        warm_up: float = 2.0, again: float = 0.01, old_ids: float = 0.001, path: str = "/v1/events", seed: int = 1,
        days: float = 0.0, requests: bool = False,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname or "127.0.0.1", parts.port or 80, path
        self.rate, self.seconds, self.batch, self.connections = rate, seconds, batch, connections
        self.warm_up, self.again, self.old_ids = warm_up, again, old_ids
        # Another run must not make the ids of this one again.
        self.rng = np.random.default_rng((seed, os.getpid(), time.time_ns()))
        # Small batches are cut out of larger blocks, so that the generator costs the same for all.
        self.block = batch * max(1, 1000 // batch)
        self._size = event_size(requests=requests)
        self._around = (b"", b"") if batch == 1 else (b'{"events":[', b"]}")
        self._heads = list(map(self._head, accounts))
        self.templates = [
            _Template(account, self.block, self.rng, requests=requests, around=self._around_block(head))
            for account, head in zip(accounts, self._heads, strict=True)
        ]
        self._pieces: list[deque[_Piece]] = [deque() for _ in accounts]
        # So many days pass during the run, up to now: what is stored then lies as it would after them.
        self._days_ms = days * 86_400_000
        self._progress = 0.0
        self.outcome = Outcome()
        self._acknowledged: list[deque[np.ndarray]] = [deque(maxlen=20) for _ in accounts]
        # What may be sent again: of large batches some, which are copied for it.
        self._sent: deque[_Piece] = deque(maxlen=200 if self.block > batch else 200 // _KEPT_ONE_IN)

    def run(self) -> Outcome:
        """Send all of it; returns when everything is answered.

        Where requests are far apart the loop waits in select(2), whose timer is of microseconds: that of epoll_wait(2)
        is late by up to one millisecond, which would be seen in each acknowledgement or cost a core to make up for.
        """
        kind = selectors.SelectSelector if self.batch / self.rate > _SHORT else selectors.DefaultSelector
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(kind())) as runner:
            return runner.run(self._run())

    async def _run(self) -> Outcome:
        free: asyncio.Queue[_Connection] = asyncio.Queue()
        for _ in range(self.connections):
            free.put_nowait(await self._connect())
        requests = int(self.rate * self.seconds / self.batch)
        every = self.batch / self.rate
        begun_cpu = time.process_time()
        start = time.monotonic() + 0.05
        self.outcome.first = start
        tasks: set[asyncio.Task[None]] = set()
        ready: deque[_Piece] = deque()
        making = 0.0
        for number in range(requests):
            due = start + number * every
            if every > _SHORT:
                making = await self._make_ahead(number, ready, tasks, due, making)
            elif number % 16 == 0:
                await asyncio.sleep(0)
            piece = ready.popleft() if ready else self._next(number)
            repeated = self._to_repeat(piece)
            connection = await free.get()
            pause = due - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            answer = self._post(connection, piece)
            task = asyncio.create_task(self._await(answer, piece, repeated, due - start, connection, free))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        self.outcome.last = time.monotonic()
        self.outcome.cpu_seconds = time.process_time() - begun_cpu
        return self.outcome

    async def _make_ahead(
        self, number: int, ready: deque[_Piece], tasks: set[asyncio.Task[None]], due: float, making: float
    ) -> float:
        """Make requests from ``number`` on until :data:`_AHEAD` are ready; returns how many seconds one takes.

        A caller has its events before they are due. They are made while nothing is under way: else no answer would be
        seen meanwhile, and the processor be taken from what a request has to pass. Where something always is, they are
        made when they are due.
        """
        while len(ready) < _AHEAD:
            left = due - 1.5 * making - time.monotonic()
            if tasks and left > 0:
                if len(tasks) > _HARDLY_ANY:
                    await asyncio.sleep(left)
                else:
                    await asyncio.wait(tasks, timeout=left)
                left = due - 1.5 * making - time.monotonic()
            if ready and (tasks or left <= 0):
                break
            begun = time.monotonic()
            ready.append(self._next(number + len(ready)))
            making = max(0.9 * making, time.monotonic() - begun)
            await asyncio.sleep(0)
        return making

    async def _connect(self) -> _Connection:
        return await _Connection.open(self.host, self.port)

    async def _await(
        self, answer: _Answer, piece: _Piece, repeated: _Piece | None, due: float, connection: _Connection,
        free: asyncio.Queue[_Connection],
    ) -> None:  # fmt: skip
        """Wait for the answer to a request that was due so many seconds after the first, and count it."""
        outcome = self.outcome
        try:
            status, _ = await answer
            moment = time.monotonic() - outcome.first
            outcome.sent_events += self.batch
            if status == 202:
                outcome.acknowledged_events += self.batch
                if due >= self.warm_up:
                    outcome.latencies.append(moment - due)
                    outcome.seconds.append(int(due))
                self._account(piece)
                if repeated is not None:
                    self._sent.append(repeated)
            elif status == 429:
                outcome.refused_requests += 1
            else:
                outcome.failed_requests += 1
        except (ConnectionError, OSError):
            outcome.failed_requests += 1
            await asyncio.sleep(0.2)
            connection = await self._reconnect()
        finally:
            free.put_nowait(connection)

    async def _reconnect(self) -> _Connection:
        for _ in range(100):
            try:
                return await self._connect()
            except OSError:
                await asyncio.sleep(0.2)
        return _Connection()

    def _next(self, number: int) -> _Piece:
        """The next body: of a new batch, now and then with ids that were acknowledged before, or an old one again."""
        if self._sent and self.rng.random() < self.again:
            return self._sent[int(self.rng.integers(len(self._sent)))]
        which = number % len(self.templates)
        self._progress = number * self.batch / (self.rate * self.seconds)
        if not self._pieces[which]:
            self._make(which)
        return self._pieces[which].popleft()

    def _make(self, which: int) -> None:
        ids = np.frombuffer(bytearray(self.rng.bytes(16 * self.block)), dtype=np.uint8).reshape(self.block, 16)
        ids[:, 6] = ids[:, 6] & 15 | 0x40
        fresh = np.ones(self.block, dtype=bool)
        known = self._acknowledged[which]
        if known and self.old_ids:
            old = np.flatnonzero(self.rng.random(self.block) < self.old_ids).tolist()
            # Whichever comes twice is counted once, as the others are not: an old one is fresh nowhere.
            for place in old:
                source = known[int(self.rng.integers(len(known)))]
                ids[place] = source[int(self.rng.integers(len(source)))]
            fresh[old] = False
        ago = int(self._days_ms * (1 - self._progress))
        whole = self.templates[which].make(ids.tobytes(), time.time_ns() // 1_000_000 - ago)
        if self.block == self.batch:
            self._pieces[which].append(_Piece(which, whole, ids, fresh))
            return
        (start, end), events = self._around, memoryview(whole)
        for place in range(0, self.block, self.batch):
            part = slice(place, place + self.batch)
            own = events[place * self._size : (place + self.batch) * self._size - 1]
            request = b"".join((self._heads[which], start, own, end))
            self._pieces[which].append(_Piece(which, request, ids[part], fresh[part], place))
        self.templates[which].free.append(whole)

    def _head(self, account: Account) -> bytes:
        size = self.batch * self._size - 1 + sum(map(len, self._around))
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {account.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
        ).encode()

    def _around_block(self, head: bytes) -> tuple[bytes, bytes]:
        """What is around a template's events: a whole request, where it is not cut into smaller ones."""
        start, end = self._around
        return (head + start, end) if self.block == self.batch else (b"", b",")

    def _to_repeat(self, piece: _Piece) -> _Piece | None:
        """What may be sent again once it is acknowledged; of what is written anew one in :data:`_KEPT_ONE_IN`."""
        if not self.again or piece.ids is None:
            return None
        if isinstance(piece.request, bytes):
            return _Piece(piece.which, piece.request)
        return _Piece(piece.which, bytes(piece.request)) if self.rng.random() * _KEPT_ONE_IN < 1 else None

    def _post(self, connection: _Connection, piece: _Piece) -> _Answer:
        answer = connection.send(piece.request)
        # Where some of it is still to be sent it must stay as it is.
        if isinstance(piece.request, bytearray) and not connection.left:
            self.templates[piece.which].free.append(piece.request)
        return answer

    def _account(self, piece: _Piece) -> None:
        if piece.ids is None or piece.fresh is None:
            return
        template, outcome, fresh = self.templates[piece.which], self.outcome, piece.fresh
        part = slice(piece.place, piece.place + self.batch)
        outcome.expected_events += int(fresh.sum())
        outcome.expected_input += int(template.inputs[part][fresh].sum())
        outcome.expected_output += int(template.outputs[part][fresh].sum())
        if fresh.any():
            self._acknowledged[piece.which].append(piece.ids[fresh])


class TrackLoad(Load):
    """Single events through ``/v1/track``."""

    def __init__(self, url: str, accounts: list[Account], **options: object) -> None:
        super().__init__(url, accounts, batch=1, path="/v1/track", **options)  # type: ignore[arg-type]


def percentile(values: list[float], fraction: float) -> float:
    """The nearest-rank percentile."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
