"""A batch turned on its side: each field of all events as one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventIn, TelemetryEvent

__all__ = ["Columns", "Ints", "Window", "ints"]

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """The accepted timestamps, in microseconds: ``past`` back from and ``future`` ahead of ``received``."""

    received: int
    past: int
    future: int = 300_000_000

    @classmethod
    def of(cls, key: KeyContext, received_at: datetime) -> "Window":
        """7 days back to 5 minutes ahead; 400 days back for a key with the ``backfill`` scope."""
        days = 400 if "backfill" in key.scopes else 7
        return cls(int(received_at.timestamp() * 1_000_000), days * DAY_US)


class Columns:
    """The fields of a batch, each as one sequence; read by name."""

    __slots__ = ("_by_name", "count", "metadata", "objects_only", "telemetry")

    def __init__(self, events: Sequence[EventIn]) -> None:
        self.count = len(events)
        # One tuple an event and one transposition: cheaper than a loop for each of 27 fields.
        self._by_name = dict(zip(events[0].__struct_fields__, zip(*map(astuple, events), strict=True), strict=True))
        self.telemetry = isinstance(events[0], TelemetryEvent)
        # JSON holds no NUL byte, so one separates the values; b"" is no metadata.
        joined = b"\0".join((b"", *self._by_name["metadata"]))
        self.metadata = joined.split(b"\0")[1:]
        # The usual batches are known without a look at each value: objects everywhere, or none at all.
        self.objects_only = joined.count(b"\0{") == self.count or not joined.strip(b"\0")
        if not self.objects_only:
            self.metadata = [b"" if value == b"null" else value for value in self.metadata]

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        return self._by_name[name]

    def all_none(self, name: str) -> bool:
        """Whether no event has the field."""
        return self._by_name[name].count(None) == self.count


def ints(column: Sequence[int | None]) -> Ints:
    """A column of counts; None counts as 0."""
    if not any(column):
        return np.zeros(len(column), dtype=np.int64)
    try:
        return np.fromiter(column, dtype=np.int64, count=len(column))
    except TypeError:
        return np.array([value or 0 for value in column], dtype=np.int64)
