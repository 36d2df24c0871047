"""A batch turned on its side: each field of all events as one sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import astuple

from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventCore, TelemetryEvent
from apps.usage.texts import TextColumn, joined

__all__ = ["Columns", "Ints", "Window", "ints"]

Ints = npt.NDArray[np.int64]
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """The accepted timestamps, in microseconds: ``past`` back from and ``future`` ahead of ``received``."""

    received: int
    past: int
    future: int = 300_000_000

    @property
    def past_edge(self) -> int:
        """The oldest moment that is accepted."""
        return self.received - self.past

    @classmethod
    def of(cls, key: KeyContext, received_at: datetime) -> "Window":
        """7 days back to 5 minutes ahead; 400 days back for a key with the ``backfill`` scope."""
        days = 400 if "backfill" in key.scopes else 7
        return cls(int(received_at.timestamp() * 1_000_000), days * DAY_US)


class Columns:
    """The fields of a batch, each as one sequence; read by name. A field that the events' type lacks is all None."""

    __slots__ = ("_absent", "_by_name", "_metadata", "count", "metadata", "objects_only", "telemetry")

    def __init__(self, events: Sequence[EventCore]) -> None:
        self.count = len(events)
        # One tuple an event and one transposition: cheaper than a loop for each of the fields.
        self._by_name = dict(zip(events[0].__struct_fields__, zip(*map(astuple, events), strict=True), strict=True))
        self._absent = (None,) * self.count
        self.telemetry = isinstance(events[0], TelemetryEvent)
        self._metadata: list[bytes] | None = None
        self._read_metadata(self._by_name["metadata"])

    def _read_metadata(self, values: Sequence[Any]) -> None:
        """The lengths and first bytes of all values at once: JSON holds no NUL byte, so one separates them."""
        data = b"\0".join((b"", *values, b""))
        run = np.frombuffer(data, dtype=np.uint8)
        borders = np.flatnonzero(run == 0)
        lengths = borders[1:] - borders[:-1] - 1
        first = run[borders[:-1] + 1]
        self.objects_only = bool(((first == 123) | (lengths == 0)).all())
        if self.objects_only:
            self.metadata = TextColumn(lengths.astype(np.uint32), data.replace(b"\0", b""))
            return
        self._metadata = [b"" if (text := bytes(value)) == b"null" else text for value in values]
        self.metadata = joined(self._metadata)

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        return self._by_name.get(name, self._absent)

    @property
    def metadata_texts(self) -> list[bytes]:
        """Each event's metadata, as it came; ``b""`` is none."""
        if self._metadata is None:
            self._metadata = self.metadata.texts()
        return self._metadata

    def keep_metadata(self, texts: list[bytes]) -> None:
        """Have these in the place of the metadata as it came."""
        self._metadata, self.metadata = texts, joined(texts)

    def all_none(self, name: str) -> bool:
        """Whether no event has the field."""
        column = self._by_name.get(name)
        return column is None or column.count(None) == self.count


def ints(column: Sequence[int | None]) -> Ints:
    """A column of counts; None counts as 0."""
    if not any(column):
        return np.zeros(len(column), dtype=np.int64)
    try:
        return np.fromiter(column, dtype=np.int64, count=len(column))
    except TypeError:
        return np.array([value or 0 for value in column], dtype=np.int64)
