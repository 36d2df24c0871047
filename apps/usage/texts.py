"""Columns of texts: how long each is, and all of them in one run of bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "TextColumn",
    "TextColumns",
    "at",
    "concatenated",
    "holding",
    "joined",
    "kept",
    "pack",
    "parts",
    "split",
    "unpack",
]

_LENGTH = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class TextColumn:
    """``lengths`` in bytes, one a text (0: none), and the texts in their order in ``data``."""

    lengths: npt.NDArray[np.uint32]
    data: bytes | memoryview

    def texts(self) -> list[bytes]:
        """Each text."""
        data, borders = bytes(self.data), self.borders().tolist()
        return [data[start:end] for start, end in pairwise(borders)]

    def borders(self) -> npt.NDArray[np.int64]:
        """Where each text begins, and where the last one ends."""
        borders = np.zeros(len(self.lengths) + 1, dtype=np.int64)
        self.lengths.cumsum(out=borders[1:])
        return borders

    def at(self, place: int) -> bytes:
        """One text; of many, :meth:`borders` are less work."""
        length = int(self.lengths[place])
        if not length:
            return b""
        start = int(np.add.reduce(self.lengths[:place], dtype=np.int64))
        return bytes(self.data[start : start + length])

    def some(self, places: Sequence[int]) -> list[bytes]:
        """The texts at these places, all at once and by Python's own numbers: numpy's take longer than inflating."""
        borders, index = self.borders(), np.asarray(places, dtype=np.intp)
        ends = zip(borders[index].tolist(), borders[index + 1].tolist(), strict=True)
        return [bytes(self.data[start:end]) for start, end in ends]


# Request id, detail and metadata of each event; None where no event has any.
TextColumns = tuple[TextColumn | None, TextColumn | None, TextColumn | None]


def joined(values: Sequence[bytes]) -> TextColumn:
    """A column of these texts."""
    return TextColumn(np.fromiter(map(len, values), dtype=_LENGTH, count=len(values)), b"".join(values))


def kept(columns: TextColumns, mask: npt.NDArray[np.bool_]) -> TextColumns:
    """The columns without the texts that ``mask`` leaves out."""
    return tuple(  # type: ignore[return-value]
        None
        if column is None
        else TextColumn(
            column.lengths[mask],
            np.frombuffer(column.data, dtype=np.uint8)[np.repeat(mask, column.lengths)].tobytes(),
        )
        for column in columns
    )


def parts(columns: TextColumns, events: int, size: int) -> Iterator[TextColumns]:
    """The columns of so many events in parts of ``size`` events each; the last may have fewer."""
    yield from split(columns, [*range(0, events, size), events])


def split(columns: TextColumns, places: Sequence[int]) -> Iterator[TextColumns]:
    """The columns in parts: from each of these places to the next."""
    borders = [None if column is None else column.borders()[places].tolist() for column in columns]
    for number, (start, end) in enumerate(pairwise(places)):
        yield tuple(  # type: ignore[misc]
            None
            if column is None or border is None
            else TextColumn(column.lengths[start:end], column.data[border[number] : border[number + 1]])
            for column, border in zip(columns, borders, strict=True)
        )


def at(columns: TextColumns, places: Sequence[int]) -> list[tuple[bytes, bytes, bytes]]:
    """Request id, detail and metadata at each of these places; ``b""`` is none."""
    if len(places) == 1:
        return [tuple(b"" if column is None else column.at(places[0]) for column in columns)]  # type: ignore[list-item]
    found = ([b""] * len(places) if column is None else column.some(places) for column in columns)
    return list(zip(*found, strict=True))


def holding(columns: TextColumns, places: Sequence[int], words: Sequence[bytes]) -> list[int]:
    """Those of the places whose detail has one of these words somewhere."""
    details = columns[1]
    if details is None:
        return []
    texts = zip(places, details.some(places), strict=True)
    return [place for place, text in texts if any(word in text for word in words)]


def concatenated(pieces: Sequence[tuple[int, TextColumns]]) -> TextColumns:
    """The columns of several parts, of so many events each, one after the other."""
    if len(pieces) == 1:
        return pieces[0][1]
    out: list[TextColumn | None] = []
    for number in range(3):
        found = [(count, columns[number]) for count, columns in pieces]
        if all(column is None for _, column in found):
            out.append(None)
            continue
        lengths = [np.zeros(count, dtype=_LENGTH) if column is None else column.lengths for count, column in found]
        data = b"".join(column.data for _, column in found if column is not None)
        out.append(TextColumn(np.concatenate(lengths), data))
    return tuple(out)  # type: ignore[return-value]


def pack(columns: TextColumns) -> bytes:
    """A byte that says which columns there are; of each, its size (4 bytes), the lengths and the texts."""
    parts: list[Any] = [bytes([sum(1 << number for number, column in enumerate(columns) if column is not None)])]
    for column in columns:
        if column is not None:
            parts += (len(column.data).to_bytes(4, "little"), column.lengths.astype(_LENGTH).tobytes(), column.data)
    return b"".join(parts)


def unpack(events: int, data: bytes | memoryview) -> TextColumns:
    """What :func:`pack` made of the columns of so many events."""
    view = memoryview(data)
    mask, at = view[0], 1
    out: list[TextColumn | None] = []
    for number in range(3):
        if not mask >> number & 1:
            out.append(None)
            continue
        size = int.from_bytes(view[at : at + 4], "little")
        lengths = np.frombuffer(view, dtype=_LENGTH, count=events, offset=at + 4)
        start = at + 4 + lengths.nbytes
        out.append(TextColumn(lengths, view[start : start + size]))
        at = start + size
    return tuple(out)  # type: ignore[return-value]
