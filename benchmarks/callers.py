"""Callers in a process of their own: so many requests in flight, each sent anew when it was answered.

On keep-alive connections through the printed address, with as little of Python as can be between two requests: some
20 µs each, so that on two cores the callers do not measure themselves. A call's time is from its sending until the last
byte of its answer is there; it is in flight all that time, wherever it waits.
"""

import argparse
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["IN_FLIGHT", "Measured", "in_flight", "request_of"]

IN_FLIGHT = 20
WARM_UP, SECONDS = 1.0, 5.0


@dataclass(frozen=True)
class Measured:
    """Milliseconds of each call, and how many were answered in a second."""

    times: tuple[float, ...]
    a_second: float

    def at(self, percent: int) -> float:
        """The nearest-rank percentile."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def request_of(url: str, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request as it goes over the wire."""
    own = {"Host": urlsplit(url).netloc, "User-Agent": "mindweave-bench/1.0", "Accept": "*/*", **headers}
    if body:
        own["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def in_flight(url: str, requests: Sequence[bytes], *, status: int = 200, seconds: float = SECONDS) -> Measured:
    """What calls took, one of each of ``requests`` in flight at any moment; ``RuntimeError`` for another ``status``."""
    parts = urlsplit(url)
    command = [sys.executable, "-m", "benchmarks.callers", parts.hostname or "", str(parts.port), str(status)]
    asked = json.dumps({"requests": [request.decode() for request in requests], "seconds": seconds})
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    times = json.loads(done.stdout)
    return Measured(tuple(times), len(times) / seconds)


# ---------------------------------------------------------------- the process of the callers
class _Caller:
    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request, self.answer, self.missing, self.began = request, b"", -1, 0.0

    def send(self) -> None:
        self.answer, self.missing, self.began = b"", -1, time.perf_counter()
        self.socket.sendall(self.request)

    def receive(self) -> bool:
        """Read what is there; whether the answer is whole."""
        part = self.socket.recv(1 << 16)
        if not part:
            raise ConnectionError(f"closed after {self.answer[:300]!r}")
        if self.missing >= 0:
            self.missing -= len(part)
            return self.missing <= 0
        self.answer += part
        head, found, rest = self.answer.partition(b"\r\n\r\n")
        if not found:
            return False
        lower = head.lower()
        at = lower.find(b"content-length:")
        if at < 0:
            # In chunks: only pages are, and their ends come with the last of them.
            return rest.endswith(b"0\r\n\r\n")
        self.missing = int(lower[at + 15 :].split(b"\r\n", 1)[0]) - len(rest)
        return self.missing <= 0


def _call(host: str, port: int, status: bytes, requests: list[bytes], seconds: float) -> list[float]:
    selector = selectors.DefaultSelector()
    times: list[float] = []
    callers = [_Caller(host, port, request) for request in requests]
    for caller in callers:
        selector.register(caller.socket, selectors.EVENT_READ, caller)
    start = time.perf_counter() + WARM_UP
    end = start + seconds
    for caller in callers:
        caller.send()
    while True:
        for key, _ in selector.select(30):
            caller = key.data
            if not caller.receive():
                continue
            moment = time.perf_counter()
            if caller.answer[9:12] != status:
                raise RuntimeError(caller.answer[:600].decode(errors="replace"))
            if moment >= end:
                return times
            if caller.began >= start:
                times.append((moment - caller.began) * 1000)
            caller.send()


def main() -> None:
    """Read what to ask from the standard input, and write the milliseconds of each call."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("status")
    options = parser.parse_args()
    asked = json.load(sys.stdin)
    requests = [request.encode() for request in asked["requests"]]
    json.dump(_call(options.host, options.port, options.status.encode(), requests, asked["seconds"]), sys.stdout)


if __name__ == "__main__":
    main()
