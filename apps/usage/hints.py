"""Hints: which of a block of chunks can hold what, so that a search need not look into the others (decision 0021).

A block is up to :data:`MAX_CHUNKS` chunks of one organisation and day of dropping, each known by its place. It has

- ``combos``: each (who, what, stop reason, source of the cost, error type) that occurs, and in which chunks; zstd; of
  an error type 16 bits of its hash;
- ``who_entries``: where who had to be left out of these, of each who, by the places that ``who_fence`` tells, which of
  them (16 bits: the place in ``combos``), in which chunk, and which event of it; behind them, of those combinations
  that hardly any event is of (:data:`_RARE`), each one's events: who, in which chunk, which event. Where those of each
  combination begin is behind the bits in ``combos``;
- ``entries``: of each value of the fields that hardly any two events share (session, request id, event id) and of the
  words of details, 16 bits of its hash and the place of a chunk, sorted by the whole hash; ``fence`` says where the
  entries of each run of hashes begin, which are ``bits`` bits of it.

A hint may say "perhaps" where nothing is; it never says "no" where something is. What is in no block is "perhaps", and
so is what is in a block of a format that is not among :data:`FORMATS`: one that a newer or older version made.
"""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from apps.usage.ingest.what import COST_IS_REPORTED, PRICED, UNPRICED

__all__ = [
    "ANY",
    "ANY_ERROR",
    "ENTRY",
    "FIRST_FORMAT",
    "FORMAT",
    "FORMATS",
    "ID",
    "MAX_CHUNKS",
    "REQUEST",
    "SESSION",
    "SOMEWHERE",
    "Block",
    "BlockMaker",
    "Found",
    "Held",
    "among",
    "combos_hold",
    "cost_source",
    "entries_hold",
    "error_code",
    "id_keys",
    "rare_entries_hold",
    "rare_runs",
    "value_keys",
    "who_entries_hold",
    "who_runs",
    "word_key",
]

# How blocks are written, and all that can be read. Whatever changes in what a block's bytes mean is another format, so
# that processes of two versions may run side by side: whoever cannot read a block looks into its chunks.
FORMAT: Final = 2
FORMATS: Final = (1, 2)
# In this one entries of whos did not tell the event, and there were none of rare combinations.
FIRST_FORMAT: Final = 1
MAX_CHUNKS: Final = 128
# Beyond this, who is left out of the combinations, and each who has entries of its own.
MAX_COMBOS: Final = 8192
# In a combination, in the place of who or what: whoever, whatever.
ANY: Final = -1
# In a combination, in the place of the error type: whichever, or none.
ANY_ERROR: Final = 0xFFFF
SESSION, REQUEST, ID, _WORD = 1, 2, 3, 4
ENTRY: Final = np.dtype([("rest", "<u2"), ("place", "u1")])
_FENCE = np.dtype("<u4")
_WHO_FENCE = np.dtype([("who", "<i4"), ("start", "<u4")])
_WHO_ENTRY = np.dtype([("combo", "<u2"), ("place", "u1"), ("event", "<u2")])
# As it was in the first format.
_FIRST_WHO_ENTRY = np.dtype([("combo", "<u2"), ("place", "u1")])
_RARE_ENTRY = np.dtype([("who", "<i4"), ("place", "u1"), ("event", "<u2")])
# In the place of an event of a chunk: there are several, or it has more than can be told.
SOMEWHERE: Final = 0xFFFF
# Of a who's events of one combination in a chunk so many are told, each by itself.
_TOLD: Final = 4
# Rare are combinations with less than so many events for each chunk, the rarest first, up to such a share of all.
_RARE: Final = 2
_RARE_SHARE: Final = 16
# Runs of entries that lie no further apart (bytes) are read as one.
_NEAR: Final = 2048
_RUN, _MOST_BITS = 64, 16
# So many blocks' combinations are remembered unpacked, by what they are packed as; the largest are 0.3 MB.
_REMEMBERED: Final = 32
# So many values are compared one by one.
_FEW: Final = 12
_COMBO = np.dtype([("who", "<i4"), ("what", "<i4"), ("stop", "u1"), ("cost", "u1"), ("error", "<u2")])
# As they were in blocks without this bit in their count.
_COMBO_WITHOUT_ERROR = np.dtype([(name, _COMBO[name]) for name in ("who", "what", "stop", "cost")])
_WITH_ERROR: Final = 1 << 31
_ODD, _OTHER_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)

U64 = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


class _Tools(threading.local):
    """A decompressor for each thread: it may not be shared."""

    def __init__(self) -> None:
        self.decompress = zstandard.ZstdDecompressor().decompress


_tools = _Tools()


def among(column: npt.NDArray[Any], values: Sequence[int] | npt.NDArray[np.int64]) -> Mask:
    """Which of a column are one of these; a few comparisons take less than sorting does."""
    if not 0 < len(values) <= _FEW:
        return np.isin(column, values)
    mask: Mask = column == values[0]
    for value in values[1:]:
        mask |= column == value
    return mask


def cost_source(flags: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Where each event's cost is from: 0 nowhere, 1 the book, 2 the sender, 3 unpriced."""
    conditions = [(flags & bit) != 0 for bit in (UNPRICED, COST_IS_REPORTED, PRICED)]
    found: npt.NDArray[np.int64] = np.select(conditions, [3, 2, 1], default=0)
    return found


# ---------------------------------------------------------------------------------------------- hashes
def value_keys(kind: int, values: Any) -> U64:
    """The hashes, 32 bits, of session numbers (:data:`SESSION`) or hashes of request ids (:data:`REQUEST`)."""
    mixed = np.asarray(values).astype(np.uint64) * _ODD + np.uint64(kind * int(_OTHER_ODD) & 0xFFFFFFFFFFFFFFFF)
    mixed ^= mixed >> np.uint64(31)
    mixed *= _OTHER_ODD
    keys: U64 = mixed >> np.uint64(32)
    return keys


def id_keys(ids: npt.NDArray[np.void]) -> U64:
    """Those of event ids (16 bytes each)."""
    halves = np.ascontiguousarray(ids).view("<u8").reshape(-1, 2)
    return value_keys(ID, halves[:, 0] * _OTHER_ODD ^ halves[:, 1])


def word_key(field: str, word: str) -> int:
    """That of a word in a field of the detail."""
    digest = hashlib.blake2b(f"{field}\0{word}".encode(), digest_size=8).digest()
    return int(value_keys(_WORD, [int.from_bytes(digest, "little")])[0])


def error_code(word: str) -> int:
    """What combinations have of an error type: 0 is none."""
    return min(max(word_key("error_type", word) & 0xFFFF, 1), ANY_ERROR - 1) if word else 0


# ---------------------------------------------------------------------------------------------- making
@dataclass(frozen=True, slots=True)
class Block:
    """What a block stores."""

    combos: bytes
    bits: int
    fence: bytes
    entries: bytes
    who_fence: bytes | None
    who_entries: bytes | None


class BlockMaker:
    """Gathers chunks, one after the other."""

    def __init__(self) -> None:
        self.chunks = 0
        self._rows: list[npt.NDArray[np.void]] = []
        self._keys: list[U64] = []

    def add(
        self,
        columns: dict[str, npt.NDArray[Any]],
        words: Iterable[tuple[str, str]],
        errors: npt.NDArray[np.uint16],
        *,
        ids: bool,
    ) -> None:
        """The next chunk: its columns, the words of its details, by field, each event's :func:`error_code`.

        ``ids`` says whether its event ids are known too.
        """
        self._rows.append(_combos_of(columns, errors))
        keys = [
            value_keys(SESSION, columns["session"][columns["session"] != 0]),
            value_keys(REQUEST, columns["request"][columns["request"] != 0]),
            np.array([word_key(field, word) for field, word in words], dtype=np.uint64),
        ]
        if ids:
            keys.append(id_keys(columns["id"]))
        self._keys.append(np.unique(np.concatenate(keys)) << np.uint64(8) | np.uint64(self.chunks))
        self.chunks += 1

    def block(self) -> Block:
        keys = np.sort(np.concatenate(self._keys))
        bits = min(_MOST_BITS, max(0, len(keys) // _RUN).bit_length())
        entries = np.empty(len(keys), dtype=ENTRY)
        entries["place"] = keys & np.uint64(255)
        keys >>= np.uint64(8)
        entries["rest"] = keys >> np.uint64(16 - bits) & np.uint64(0xFFFF)
        fence = np.searchsorted(keys >> np.uint64(32 - bits), np.arange((1 << bits) + 1, dtype=np.uint64))
        packed, whos = _packed(self._rows)
        packed = zstandard.ZstdCompressor(level=1).compress(packed)
        return Block(packed, bits, fence.astype(_FENCE).tobytes(), entries.tobytes(), *whos)


def _combos_of(columns: dict[str, npt.NDArray[Any]], errors: npt.NDArray[np.uint16]) -> npt.NDArray[np.void]:
    """The combination of each event."""
    rows = np.empty(len(columns["who"]), dtype=_COMBO)
    rows["who"], rows["what"], rows["stop"] = columns["who"], columns["what"], columns["stop"]
    rows["cost"], rows["error"] = cost_source(columns["flags"]), errors
    return rows


def _unique(rows: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
    """The distinct rows, and each one's place among them. By numbers: numpy is slow at comparing rows of fields."""
    kinds, kind = np.unique(rows["what"].astype(np.int64) << 16 | rows["error"], return_inverse=True)
    code = (rows["who"].astype(np.int64) * len(kinds) + kind) * 1024 + rows["stop"] * np.int64(4) + rows["cost"]
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    return rows[first], place.reshape(-1)


def _packed(chunks: list[npt.NDArray[np.void]]) -> tuple[bytes, tuple[bytes | None, bytes | None]]:
    """The distinct combinations of all chunks, and a bit for each chunk that has them; fence and entries of whos."""
    rows = np.concatenate(chunks)
    sizes = [len(one) for one in chunks]
    where = np.repeat(np.arange(len(chunks)), sizes)
    event = np.concatenate([np.minimum(np.arange(size), SOMEWHERE) for size in sizes])
    distinct, place = _unique(rows)
    fence: bytes | None = None
    entries = b""
    who = rows["who"].copy()
    if len(distinct) > MAX_COMBOS:
        rows["who"] = ANY
        distinct, place = _unique(rows)
        if len(distinct) > MAX_COMBOS:
            rows["error"] = ANY_ERROR
            distinct, place = _unique(rows)
        if len(distinct) > MAX_COMBOS:
            rows["what"] = ANY
            distinct, place = _unique(rows)
        else:
            fence, entries = _who_entries(who, place, where, event)
    held = np.zeros((len(distinct), len(chunks)), dtype=bool)
    held[place, where] = True
    starts, rare = _rare_entries(len(distinct), who, place, where, event)
    count = (len(distinct) | _WITH_ERROR).to_bytes(4, "little")
    bits = np.packbits(held, axis=1).tobytes()
    starts += len(entries)
    packed = b"".join((count, distinct.tobytes(), bits, starts.astype(_FENCE).tobytes()))
    return packed, (fence, entries + rare or None)


def _who_entries(
    who: npt.NDArray[Any], combo: npt.NDArray[Any], where: npt.NDArray[Any], event: npt.NDArray[Any]
) -> tuple[bytes, bytes]:
    order = np.argsort((who.astype(np.int64) << 24) | (combo.astype(np.int64) << 8) | where, kind="stable")
    entries = np.empty(len(order), dtype=_WHO_ENTRY)
    entries["combo"], entries["place"], entries["event"] = combo[order], where[order], event[order]
    ordered = who[order]
    # What a chunk has more of than are told is one entry.
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (
        (ordered[1:] != ordered[:-1])
        | (entries["combo"][1:] != entries["combo"][:-1])
        | (entries["place"][1:] != entries["place"][:-1])
    )
    firsts = np.flatnonzero(is_first)
    many = np.repeat(np.diff(np.append(firsts, len(order))) > _TOLD, np.diff(np.append(firsts, len(order))))
    entries["event"][many] = SOMEWHERE
    stays = is_first | ~many
    entries, ordered = entries[stays], ordered[stays]
    whos, starts = np.unique(ordered, return_index=True)
    fence = np.empty(len(whos) + 1, dtype=_WHO_FENCE)
    fence["who"][:-1], fence["start"][:-1] = whos, starts
    fence[-1] = (np.iinfo("<i4").max, len(ordered))
    return fence.tobytes(), entries.tobytes()


def _rare_entries(
    combos: int, who: npt.NDArray[Any], combo: npt.NDArray[Any], where: npt.NDArray[Any], event: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], bytes]:
    """The events of rare combinations, and at which byte of these those of each begin, and the last ends."""
    counts = np.bincount(combo, minlength=combos)
    order = np.argsort(counts, kind="stable")
    rarest = np.cumsum(counts[order]) * _RARE_SHARE <= len(combo)
    is_rare = np.zeros(combos, dtype=bool)
    is_rare[order[rarest]] = True
    is_rare &= counts < _RARE * (int(where[-1]) + 1)
    chosen = np.flatnonzero(is_rare[combo])
    chosen = chosen[np.argsort(combo[chosen], kind="stable")]
    entries = np.empty(len(chosen), dtype=_RARE_ENTRY)
    entries["who"], entries["place"], entries["event"] = who[chosen], where[chosen], event[chosen]
    starts = np.zeros(combos + 1, dtype=np.int64)
    np.cumsum(np.where(is_rare, counts, 0) * _RARE_ENTRY.itemsize, out=starts[1:])
    return starts, entries.tobytes()


# ---------------------------------------------------------------------------------------------- asking
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
    knows_errors, count = count >= _WITH_ERROR, count & ~_WITH_ERROR
    rows = np.frombuffer(data, dtype=_COMBO if knows_errors else _COMBO_WITHOUT_ERROR, count=count, offset=4)
    width = -(-chunks // 8)
    at = 4 + rows.nbytes
    held = np.frombuffer(data, dtype=np.uint8, count=count * width, offset=at).reshape(count, width)
    starts = None
    if format != FIRST_FORMAT:
        starts = np.frombuffer(data, dtype=_FENCE, count=count + 1, offset=at + held.nbytes).astype(np.int64)
    return _Combos(
        {name: rows[name].copy() for name in rows.dtype.names or ()}, held.copy(),
        has_who=not count or bool((rows["who"] != ANY).any()),
        has_errors=knows_errors and not bool((rows["error"] == ANY_ERROR).any()),
        starts=starts,
    )  # fmt: skip


def who_runs(fence: bytes, whos: npt.NDArray[Any], format: int) -> list[tuple[int, int]]:
    """From which byte to which the entries of these whos lie, as far as the block has them; neighbours are one run."""
    known = np.frombuffer(fence, dtype=_WHO_FENCE)
    sorted_whos = np.sort(whos)
    at = np.searchsorted(known["who"][:-1], sorted_whos)
    found = at[known["who"][at] == sorted_whos]
    size = _who_entry(format).itemsize
    starts, ends = (size * known["start"][found + n].astype(np.int64) for n in (0, 1))
    return _runs(starts, ends, 0)


def _who_entry(format: int) -> np.dtype[np.void]:
    return _FIRST_WHO_ENTRY if format == FIRST_FORMAT else _WHO_ENTRY


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
    entries = np.frombuffer(b"".join([run for _, run in runs]), dtype=_RARE_ENTRY)
    assert held.starts is not None
    at = np.concatenate([np.arange(start, start + len(run), _RARE_ENTRY.itemsize) for start, run in runs])
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
