"""The load: realistic bodies made by numpy, sent open-loop, every acknowledged event remembered for the count.

About 470 bytes an event. A batch is one organisation's (its key's). Some batches are sent again as they were, some
ids come again in a later batch with another timestamp and other figures; both must count once.
"""

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np

__all__ = ["Account", "Load", "Outcome", "percentile"]

MODELS = ("claude-opus-5", "claude-sonnet-5-5", "claude-haiku-4-5", "claude-opus-4-8", "claude-sonnet-4-6")
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_DASHED = np.array([i for i in range(36) if i not in (8, 13, 18, 23)])


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
    first: float = 0.0
    last: float = 0.0
    cpu_seconds: float = 0.0


class _Template:
    """The bodies of one account: a fixed text with places for ids, times and figures."""

    def __init__(self, account: Account, batch: int, rng: np.random.Generator) -> None:
        self.account = account
        self.batch = batch
        parts: list[bytes] = []
        ids, times = np.zeros(batch, dtype=np.int64), np.zeros(batch, dtype=np.int64)
        self.inputs = rng.integers(10, 9999, batch)
        self.outputs = rng.integers(10, 999, batch)
        size = len(b'{"events":[')
        for i in range(batch):
            user = account.users[int(rng.integers(len(account.users)))]
            head = b'{"event_id":"'
            ids[i] = size + len(head)
            middle = b'","timestamp":"'
            times[i] = ids[i] + 36 + len(middle)
            tail = (
                f'","org_id":"{account.org_id}","project_id":"{account.project_id}","user_id":"{user}",'
                f'"event_type":"api_call","model":"{MODELS[int(rng.integers(len(MODELS)))]}",'
                f'"input_tokens":{self.inputs[i]},"output_tokens":{self.outputs[i]},'
                f'"latency_ms":{int(rng.lognormal(7, 0.8))},"cost_usd":null,"session_id":"s-{user.hex[:12]}",'
                f'"status":"{"ok" if rng.random() < 0.98 else "error"}",'
                f'"metadata":{{"feature":"chat","turn":{i % 50}}}}}'
            ).encode()
            part = head + b"0" * 36 + middle + b"2026-01-01T00:00:00.000Z" + tail + (b"," if i < batch - 1 else b"")
            size += len(part)
            parts.append(part)
        self.body = np.frombuffer(b'{"events":[' + b"".join(parts) + b"]}", dtype=np.uint8).copy()
        self.id_at = ids[:, None] + _DASHED[None, :]
        self.dash_at = ids[:, None] + np.array([8, 13, 18, 23])
        self.body[self.dash_at] = 45
        self.time_at = times[:, None] + np.arange(24)[None, :]

    def make(self, ids: np.ndarray, now_ms: int) -> bytes:
        """A body with these ids (n × 16 bytes), its events spread over the last second."""
        digits = np.empty((self.batch, 32), dtype=np.uint8)
        digits[:, 0::2], digits[:, 1::2] = ids >> 4, ids & 15
        self.body[self.id_at] = _HEX[digits]
        moments = (now_ms - 1000 + np.arange(self.batch) * 1000 // self.batch).astype("datetime64[ms]")
        text = np.datetime_as_string(moments, unit="ms", timezone="UTC").astype("S24")
        self.body[self.time_at] = text.view(np.uint8).reshape(self.batch, 24)
        return self.body.tobytes()


class _Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._waiter and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            if not rest.endswith(b"0\r\n\r\n"):
                return
        else:
            start = lower.index(b"content-length:") + 15
            length = int(lower[start:].split(b"\r\n", 1)[0])
            if len(rest) < length:
                return
        self._buffer = b""
        if self._waiter and not self._waiter.done():
            self._waiter.set_result((int(head[9:12]), rest))

    async def request(self, head: bytes, body: bytes) -> tuple[int, bytes]:
        if self.transport is None:
            raise ConnectionError("closed")
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.writelines([head, body])
        return await self._waiter


class Load:
    """Sends ``rate`` events a second for ``seconds``: requests are due by the clock, whatever is answered meanwhile."""

    def __init__(
        self, url: str, accounts: list[Account], *, rate: int, seconds: float, batch: int, connections: int = 32,
        warm_up: float = 2.0, again: float = 0.01, old_ids: float = 0.001, path: str = "/v1/events", seed: int = 1,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        self.host, self.port, self.path = parts.hostname or "127.0.0.1", parts.port or 80, path
        self.rate, self.seconds, self.batch, self.connections = rate, seconds, batch, connections
        self.warm_up, self.again, self.old_ids = warm_up, again, old_ids
        self.rng = np.random.default_rng(seed + os.getpid())
        self.templates = [_Template(account, batch, self.rng) for account in accounts]
        self.outcome = Outcome()
        self._acknowledged: list[deque[np.ndarray]] = [deque(maxlen=20) for _ in accounts]
        self._bodies: deque[tuple[int, bytes, bool]] = deque(maxlen=200)

    async def run(self) -> Outcome:
        loop = asyncio.get_running_loop()
        free: asyncio.Queue[_Connection] = asyncio.Queue()
        for _ in range(self.connections):
            free.put_nowait(await self._connect(loop))
        requests = int(self.rate * self.seconds / self.batch)
        every = self.batch / self.rate
        begun_cpu = time.process_time()
        start = time.monotonic() + 0.05
        self.outcome.first = start
        tasks: set[asyncio.Task[None]] = set()
        for number in range(requests):
            due = start + number * every
            pause = due - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            elif number % 16 == 0:
                await asyncio.sleep(0)
            task = asyncio.create_task(self._send(number, due, start, free))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        self.outcome.last = time.monotonic()
        self.outcome.cpu_seconds = time.process_time() - begun_cpu
        return self.outcome

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        _, protocol = await loop.create_connection(_Connection, self.host, self.port)
        return protocol

    async def _send(self, number: int, due: float, start: float, free: asyncio.Queue[_Connection]) -> None:
        connection = await free.get()
        outcome = self.outcome
        try:
            which, body, ids, fresh, repeated = self._next(number)
            status = await self._post(connection, which, body)
            moment = time.monotonic()
            outcome.sent_events += self.batch
            if status == 202:
                outcome.acknowledged_events += self.batch
                if due - start >= self.warm_up:
                    outcome.latencies.append(moment - due)
                self._account(which, body, ids, fresh, repeated)
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
        loop = asyncio.get_running_loop()
        for _ in range(100):
            try:
                return await self._connect(loop)
            except OSError:
                await asyncio.sleep(0.2)
        return _Connection()

    def _next(self, number: int) -> tuple[int, bytes, np.ndarray | None, np.ndarray | None, bool]:
        """The next body: of a new batch, now and then with ids that were acknowledged before, or an old one again."""
        if self._bodies and self.rng.random() < self.again:
            which, body, _ = self._bodies[int(self.rng.integers(len(self._bodies)))]
            return which, body, None, None, True
        which = number % len(self.templates)
        ids = self.rng.integers(0, 256, (self.batch, 16), dtype=np.uint8)
        ids[:, 6] = ids[:, 6] & 15 | 0x40
        fresh = np.ones(self.batch, dtype=bool)
        known = self._acknowledged[which]
        if known and self.old_ids:
            old = np.flatnonzero(self.rng.random(self.batch) < self.old_ids)
            if len(old):
                source = known[int(self.rng.integers(len(known)))]
                ids[old] = source[self.rng.choice(len(source), len(old), replace=False)]
                fresh[old] = False
        return which, self.templates[which].make(ids, time.time_ns() // 1_000_000), ids, fresh, False

    async def _post(self, connection: _Connection, which: int, body: bytes) -> int:
        token = self.templates[which].account.token
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        status, _ = await connection.request(head, body)
        return status

    def _account(
        self, which: int, body: bytes, ids: np.ndarray | None, fresh: np.ndarray | None, repeated: bool
    ) -> None:
        if repeated or ids is None or fresh is None:
            return
        template, outcome = self.templates[which], self.outcome
        outcome.expected_events += int(fresh.sum())
        outcome.expected_input += int(template.inputs[fresh].sum())
        outcome.expected_output += int(template.outputs[fresh].sum())
        self._acknowledged[which].append(ids[fresh])
        if self.again:
            self._bodies.append((which, body, True))


class TrackLoad(Load):
    """Single events through ``/v1/track``."""

    def __init__(self, url: str, accounts: list[Account], **options: object) -> None:
        super().__init__(url, accounts, batch=1, path="/v1/track", **options)  # type: ignore[arg-type]

    def _next(self, number: int) -> tuple[int, bytes, np.ndarray | None, np.ndarray | None, bool]:
        which, body, ids, fresh, repeated = super()._next(number)
        # The event alone, without {"events":[…]} around it.
        if body.startswith(b'{"events":['):
            body = body[11:-2]
        return which, body, ids, fresh, repeated


def percentile(values: list[float], fraction: float) -> float:
    """The nearest-rank percentile."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]
