"""What blocks of hints say (:mod:`apps.usage.hints`), out of the bytes that they store."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from apps.usage.hints import (
    ANY,
    ANY_ERROR,
    COMBO,
    COMBO_WITHOUT_ERROR,
    ENTRY,
    FENCE,
    FIRST_FORMAT,
    FIRST_WHO_ENTRY,
    RARE_ENTRY,
    SOMEWHERE,
    WHO_ENTRY,
    WHO_FENCE,
    WITH_ERROR,
    among,
)

__all__ = [
    "Found",
    "Held",
    "combos_hold",
    "entries_hold",
    "rare_entries_hold",
    "rare_runs",
    "who_entries_hold",
    "who_runs",
]

Mask = npt.NDArray[np.bool_]
# Runs of entries that lie no further apart (bytes) are read as one.
_NEAR: Final = 2048
# So many blocks' combinations are remembered unpacked, by what they are packed as; the largest are 0.3 MB.
_REMEMBERED: Final = 32


class _Tools(threading.local):
    """A decompressor for each thread: it may not be shared."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_tools = _Tools()


@dataclass(frozen=True, slots=True)
class Held:
    """Which chunks of a block may hold something, by which of its combinations, and what these have.

    ``starts``: at which byte of the block's entries those of each combination begin, and the last ends; None where the
    format had none.
    """

    chunks: Mask
    combos: Mask
    has_who: bool
    has_errors: bool
    starts: npt.NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class Found:
    """Events by the places of their chunks in the block; :data:`SOMEWHERE` where it is not told which."""

    places: npt.NDArray[np.uint8]
    events: npt.NDArray[np.uint16]


def combos_hold(
    packed: bytes,
    chunks: int,
    format: int,
    *,
    who: npt.NDArray[Any] | None,
    what: npt.NDArray[Any] | None,
    stops: Sequence[int] | None,
    costs: Sequence[int] | None,
    errors: Sequence[int] | None,
) -> Held:
    """What a block's combinations say of events with one of each (None: whichever); errors by their codes."""
    known = _unpacked(packed, chunks, format)
    columns = known.columns
    mask = np.ones(len(columns["who"]), dtype=bool)
    if errors is not None and "error" in columns:
        mask &= among(columns["error"], [*errors, ANY_ERROR])
    for name, values in (("stop", stops), ("cost", costs)):
        if values is not None:
            mask &= among(columns[name], values)
    for name, numbers in (("what", what), ("who", who)):
        if numbers is not None and mask.any():
            mask &= among(columns[name], numbers) | (columns[name] == ANY)
    found: Mask = np.unpackbits(np.bitwise_or.reduce(known.held[mask], axis=0, initial=0), count=chunks).astype(bool)
    return Held(found, mask, has_who=known.has_who, has_errors=known.has_errors, starts=known.starts)


@dataclass(frozen=True, slots=True)
class _Combos:
    """What ``combos`` of a block have: each field, a bit for each chunk, and what :class:`Held` has of them."""

    columns: dict[str, npt.NDArray[Any]]
    held: npt.NDArray[np.uint8]
    has_who: bool
    has_errors: bool
    starts: npt.NDArray[np.int64] | None


@lru_cache(maxsize=_REMEMBERED)
def _unpacked(packed: bytes, chunks: int, format: int) -> _Combos:
    data = _tools.decompress(packed)
    count = int.from_bytes(data[:4], "little")
    knows_errors, count = count >= WITH_ERROR, count & ~WITH_ERROR
    rows = np.frombuffer(data, dtype=COMBO if knows_errors else COMBO_WITHOUT_ERROR, count=count, offset=4)
    width = -(-chunks // 8)
    at = 4 + rows.nbytes
    held = np.frombuffer(data, dtype=np.uint8, count=count * width, offset=at).reshape(count, width)
    starts = None
    if format != FIRST_FORMAT:
        starts = np.frombuffer(data, dtype=FENCE, count=count + 1, offset=at + held.nbytes).astype(np.int64)
    return _Combos(
        {name: rows[name].copy() for name in rows.dtype.names or ()}, held.copy(),
        has_who=not count or bool((rows["who"] != ANY).any()),
        has_errors=knows_errors and not bool((rows["error"] == ANY_ERROR).any()),
        starts=starts,
    )  # fmt: skip


def who_runs(fence: bytes, whos: npt.NDArray[Any], format: int) -> list[tuple[int, int]]:
    """From which byte to which the entries of these whos lie, as far as the block has them; neighbours are one run."""
    known = np.frombuffer(fence, dtype=WHO_FENCE)
    sorted_whos = np.sort(whos)
    at = np.searchsorted(known["who"][:-1], sorted_whos)
    found = at[known["who"][at] == sorted_whos]
    size = _who_entry(format).itemsize
    starts, ends = (size * known["start"][found + n].astype(np.int64) for n in (0, 1))
    return _runs(starts, ends, 0)


def _who_entry(format: int) -> np.dtype[np.void]:
    return FIRST_WHO_ENTRY if format == FIRST_FORMAT else WHO_ENTRY


def _runs(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], near: int) -> list[tuple[int, int]]:
    """From where to where these lie; what is no further apart than ``near`` is one run."""
    runs: list[tuple[int, int]] = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if runs and start - runs[-1][1] <= near:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def who_entries_hold(run: bytes, combos: Mask, format: int) -> Found:
    """What there is of these combinations by entries of whos."""
    entries = np.frombuffer(run, dtype=_who_entry(format))
    found = entries[combos[entries["combo"]]]
    if format == FIRST_FORMAT:
        return Found(found["place"], np.full(len(found), SOMEWHERE, dtype=np.uint16))
    return Found(found["place"], found["event"])


def rare_runs(held: Held) -> list[tuple[int, int]] | None:
    """From which byte to which the events of the combinations that match lie; None where one of them is not rare."""
    if held.starts is None:
        return None
    matching = np.flatnonzero(held.combos)
    starts, ends = held.starts[matching], held.starts[matching + 1]
    if not len(matching) or bool((starts == ends).any()):
        return None
    return _runs(starts, ends, _NEAR)


def rare_entries_hold(runs: Sequence[tuple[int, bytes]], held: Held, whos: npt.NDArray[Any] | None) -> Found:
    """Of runs of entries, each from a byte on: what is of the combinations that match, and of one of the whos."""
    entries = np.frombuffer(b"".join([run for _, run in runs]), dtype=RARE_ENTRY)
    assert held.starts is not None
    at = np.concatenate([np.arange(start, start + len(run), RARE_ENTRY.itemsize) for start, run in runs])
    mask = held.combos[np.searchsorted(held.starts, at, side="right") - 1]
    if whos is not None:
        mask &= among(entries["who"], whos)
    return Found(entries["place"][mask], entries["event"][mask])


def entries_hold(run: bytes, key: int, bits: int, chunks: int) -> Mask:
    """Which of the chunks may hold the value with this hash, by the run of entries that it would be among."""
    entries = np.frombuffer(run, dtype=ENTRY)
    held = np.zeros(chunks, dtype=bool)
    held[entries["place"][entries["rest"] == (key >> (16 - bits) & 0xFFFF)]] = True
    return held
