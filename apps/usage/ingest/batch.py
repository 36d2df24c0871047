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

__all__ = ["Columns", "Ints", "Places", "Window", "ints"]

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

    @property
    def future_edge(self) -> int:
        """The newest moment that is accepted."""
        return self.received + self.future

    @classmethod
    def of(cls, key: KeyContext, received_at: datetime) -> "Window":
        """7 days back to 5 minutes ahead; 400 days back for a key with the ``backfill`` scope."""
        days = 400 if "backfill" in key.scopes else 7
        return cls(int(received_at.timestamp() * 1_000_000), days * DAY_US)


class Places(dict[Any, int]):
    """Numbers keys in the order in which they are first asked for."""

    def __missing__(self, key: Any) -> int:
        place = self[key] = len(self)
        return place


class Columns:
    """The fields of a batch, each as one sequence; read by name. A field that the events' type lacks is all None."""

    __slots__ = (
        "_absent", "_by_name", "_coded", "_metadata", "_of", "count", "metadata", "objects_only", "telemetry",
    )  # fmt: skip

    def __init__(self, events: Sequence[EventCore]) -> None:
        self.count = len(events)
        self._of: tuple[Columns, slice] | None = None
        # One tuple an event and one transposition: cheaper than a loop for each of the fields.
        self._by_name = dict(zip(events[0].__struct_fields__, zip(*map(astuple, events), strict=True), strict=True))
        self._absent = (None,) * self.count
        self._coded: dict[str, tuple[Places, Ints]] = {}
        self.telemetry = isinstance(events[0], TelemetryEvent)
        self._metadata: list[bytes] | None = None
        self._read_metadata(self._by_name["metadata"])

    def part(self, start: int, end: int, metadata: TextColumn) -> "Columns":
        """Some of the events, one after the other; ``metadata`` is theirs. A field is copied when it is asked for."""
        part = object.__new__(Columns)
        part.count = end - start
        part._of, part._by_name, part._coded = (self, slice(start, end)), {}, {}
        part._absent = (None,) * part.count
        part.telemetry, part.objects_only = self.telemetry, self.objects_only
        part.metadata, part._metadata = metadata, None
        return part

    def _read_metadata(self, values: Sequence[Any]) -> None:
        """What is no object is ``null`` or refused; ``123`` is an opening brace."""
        self.metadata = joined(values)
        lengths = self.metadata.lengths
        if not self.metadata.data:
            self.objects_only = True
            return
        starts = self.metadata.borders()[:-1]
        if not lengths.all():
            starts = starts[lengths != 0]
        self.objects_only = bool((np.frombuffer(self.metadata.data, dtype=np.uint8)[starts] == 123).all())
        if not self.objects_only:
            self._metadata = [b"" if (text := bytes(value)) == b"null" else text for value in values]
            self.metadata = joined(self._metadata)

    def __getitem__(self, name: str) -> tuple[Any, ...]:
        found = self._by_name.get(name)
        if found is None:
            found = self._absent if self._of is None else self._of[0][name][self._of[1]]
            self._by_name[name] = found
        return found

    def coded(self, name: str) -> tuple[Places, Ints]:
        """The distinct values of a column with a number each, and each event's number; remembered."""
        found = self._coded.get(name)
        if found is None:
            places = Places()
            index = np.fromiter(map(places.__getitem__, self[name]), dtype=np.int64, count=self.count)
            found = self._coded[name] = places, index
        return found

    def is_constant(self, name: str) -> bool:
        """Whether all events have the same value."""
        column = self[name]
        return column is self._absent or column.count(column[0]) == self.count

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
        column = self[name]
        return column is self._absent or (column[0] is None and column.count(None) == self.count)


def ints(column: Sequence[int | None], absent: int = 0) -> Ints:
    """A column of counts; ``absent`` for None."""
    try:
        return np.fromiter(column, dtype=np.int64, count=len(column))
    except TypeError:
        return np.array([absent if value is None else value for value in column], dtype=np.int64)
