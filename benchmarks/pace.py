"""How fast each processor is while a load runs: a neighbour on the same core takes a third of it, seconds at a time.

``python -m benchmarks.pace CPU`` looks 20 times a second until its standard input ends, then prints what it saw. A look
is 0.1 ms of the processor.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

__all__ = ["Pace", "body_of", "reading_ms"]

_EVERY = 0.05
# Events that are read at a look, and how often: the quickest counts, which nothing has interrupted.
_EVENTS, _TIMES = 20, 5


def body_of(events: int) -> bytes:
    """JSON of so many events, of 450 bytes each."""
    event = {"id": "0" * 36, "at": "0" * 24, "keys": ["1" * 36] * 3, "counts": [1000, 2000, 3000], "rest": "2" * 230}
    return msgspec.json.encode([event] * events)


def reading_ms(body: bytes) -> float:
    """How long JSON takes to become objects, once."""
    begun = time.perf_counter()
    msgspec.json.decode(body)
    return (time.perf_counter() - begun) * 1000


class Pace:
    """Looks at all processors from its making to :meth:`stop`."""

    def __init__(self) -> None:
        root = Path(__file__).resolve().parent.parent
        self._lookers = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.pace", str(cpu)],
                cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            for cpu in sorted(os.sched_getaffinity(0))
        ]  # fmt: skip

    def stop(self) -> list[float]:
        """Milliseconds for 450 kB of JSON, one for each look of each processor, in order of size."""
        seen: list[float] = []
        for looker in self._lookers:
            seen += json.loads(looker.communicate()[0])
        return sorted(seen)


def main() -> None:
    """Look until standard input ends."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    body, seen = body_of(_EVENTS), []
    os.set_blocking(sys.stdin.fileno(), False)
    while sys.stdin.buffer.read() != b"":
        seen.append(round(min(reading_ms(body) for _ in range(_TIMES)) * 1000 / _EVENTS, 3))
        time.sleep(_EVERY)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
