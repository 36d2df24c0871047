"""Hints: which of a block of chunks can hold what, so that a search need not look into the others (decision 0021).

A block is up to :data:`MAX_CHUNKS` chunks of one organisation and day of dropping, each known by its place. It has

- ``combos``: each (who, what, stop reason, source of the cost, error type) that occurs, and in which chunks; zstd; of
  an error type 16 bits of its hash;
- ``who_entries``, where who had to be left out of these: of each who, by the places that ``who_fence`` tells, which of
  them (16 bits: the place in ``combos``) and in which chunk;
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
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import zstandard

from apps.usage.ingest.what import COST_IS_REPORTED, PRICED, UNPRICED

__all__ = [
    "ANY",
    "ANY_ERROR",
    "ENTRY",
    "FORMAT",
    "FORMATS",
    "ID",
    "MAX_CHUNKS",
    "REQUEST",
    "SESSION",
    "Block",
    "BlockMaker",
    "Held",
    "among",
    "combos_hold",
    "cost_source",
    "entries_hold",
    "error_code",
    "id_keys",
    "value_keys",
    "who_entries_hold",
    "who_runs",
    "word_key",
]

# How blocks are written, and all that can be read. Whatever changes in what a block's bytes mean is another format, so
# that processes of two versions may run side by side: whoever cannot read a block looks into its chunks.
FORMAT: Final = 1
FORMATS: Final = (1,)
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
_WHO_ENTRY = np.dtype([("combo", "<u2"), ("place", "u1")])
_RUN, _MOST_BITS = 64, 16
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
        self._combos: list[npt.NDArray[np.void]] = []
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
        self._combos.append(_distinct_combos(columns, errors))
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
        packed, whos = _packed(self._combos)
        packed = zstandard.ZstdCompressor(level=1).compress(packed)
        return Block(packed, bits, fence.astype(_FENCE).tobytes(), entries.tobytes(), *whos)


def _distinct_combos(columns: dict[str, npt.NDArray[Any]], errors: npt.NDArray[np.uint16]) -> npt.NDArray[np.void]:
    rows = np.empty(len(columns["who"]), dtype=_COMBO)
    rows["who"], rows["what"], rows["stop"] = columns["who"], columns["what"], columns["stop"]
    rows["cost"], rows["error"] = cost_source(columns["flags"]), errors
    return _unique(rows)[0]


def _unique(rows: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
    """The distinct rows, and each one's place among them. By numbers: numpy is slow at comparing rows of fields."""
    kinds, kind = np.unique(rows["what"].astype(np.int64) << 16 | rows["error"], return_inverse=True)
    code = (rows["who"].astype(np.int64) * len(kinds) + kind) * 1024 + rows["stop"] * np.int64(4) + rows["cost"]
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    return rows[first], place.reshape(-1)


def _packed(chunks: list[npt.NDArray[np.void]]) -> tuple[bytes, tuple[bytes | None, bytes | None]]:
    """The distinct combinations of all chunks, and a bit for each chunk that has them; fence and entries of whos."""
    rows = np.concatenate(chunks)
    where = np.repeat(np.arange(len(chunks)), [len(one) for one in chunks])
    distinct, place = _unique(rows)
    whos: tuple[bytes | None, bytes | None] = None, None
    if len(distinct) > MAX_COMBOS:
        who = rows["who"].copy()
        rows["who"] = ANY
        distinct, place = _unique(rows)
        if len(distinct) > MAX_COMBOS:
            rows["error"] = ANY_ERROR
            distinct, place = _unique(rows)
        if len(distinct) > MAX_COMBOS:
            rows["what"] = ANY
            distinct, place = _unique(rows)
        else:
            whos = _who_entries(who, place, where)
    held = np.zeros((len(distinct), len(chunks)), dtype=bool)
    held[place, where] = True
    count = (len(distinct) | _WITH_ERROR).to_bytes(4, "little")
    return count + distinct.tobytes() + np.packbits(held, axis=1).tobytes(), whos


def _who_entries(who: npt.NDArray[Any], combo: npt.NDArray[Any], where: npt.NDArray[Any]) -> tuple[bytes, bytes]:
    order = np.lexsort((where, combo, who))
    entries = np.empty(len(order), dtype=_WHO_ENTRY)
    entries["combo"], entries["place"] = combo[order], where[order]
    whos, starts = np.unique(who[order], return_index=True)
    fence = np.empty(len(whos) + 1, dtype=_WHO_FENCE)
    fence["who"][:-1], fence["start"][:-1] = whos, starts
    fence[-1] = (np.iinfo("<i4").max, len(order))
    return fence.tobytes(), entries.tobytes()


# ---------------------------------------------------------------------------------------------- asking
@dataclass(frozen=True, slots=True)
class Held:
    """Which chunks of a block may hold something, by which of its combinations, and what these have."""

    chunks: Mask
    combos: Mask
    has_who: bool
    has_errors: bool


def combos_hold(
    packed: bytes,
    chunks: int,
    *,
    who: npt.NDArray[Any] | None,
    what: npt.NDArray[Any] | None,
    stops: Sequence[int] | None,
    costs: Sequence[int] | None,
    errors: Sequence[int] | None,
) -> Held:
    """What a block's combinations say of events with one of each (None: whichever); errors by their codes."""
    data = _tools.decompress(packed)
    count = int.from_bytes(data[:4], "little")
    knows_errors, count = count >= _WITH_ERROR, count & ~_WITH_ERROR
    rows = np.frombuffer(data, dtype=_COMBO if knows_errors else _COMBO_WITHOUT_ERROR, count=count, offset=4)
    mask = np.ones(count, dtype=bool)
    if errors is not None and knows_errors:
        mask &= among(rows["error"], [*errors, ANY_ERROR])
    for name, values in (("stop", stops), ("cost", costs)):
        if values is not None:
            mask &= among(rows[name], values)
    for name, numbers in (("what", what), ("who", who)):
        if numbers is not None and mask.any():
            mask &= among(rows[name], numbers) | (rows[name] == ANY)
    width = -(-chunks // 8)
    held = np.frombuffer(data, dtype=np.uint8, offset=4 + rows.nbytes).reshape(count, width)
    found: Mask = np.unpackbits(np.bitwise_or.reduce(held[mask], axis=0, initial=0), count=chunks).astype(bool)
    return Held(
        found, mask,
        has_who=not count or bool((rows["who"] != ANY).any()),
        has_errors=knows_errors and not bool((rows["error"] == ANY_ERROR).any()),
    )  # fmt: skip


def who_runs(fence: bytes, whos: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """From which byte to which the entries of these whos lie, as far as the block has them; neighbours are one run."""
    known = np.frombuffer(fence, dtype=_WHO_FENCE)
    sorted_whos = np.sort(whos)
    at = np.searchsorted(known["who"][:-1], sorted_whos)
    found = at[known["who"][at] == sorted_whos]
    size = _WHO_ENTRY.itemsize
    runs: list[tuple[int, int]] = []
    for at in found.tolist():
        start, end = size * int(known["start"][at]), size * int(known["start"][at + 1])
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def who_entries_hold(run: bytes, combos: Mask, chunks: int) -> Mask:
    """Which of the chunks hold one of these combinations, by entries of whos."""
    entries = np.frombuffer(run, dtype=_WHO_ENTRY)
    held = np.zeros(chunks, dtype=bool)
    held[entries["place"][combos[entries["combo"]]]] = True
    return held


def entries_hold(run: bytes, key: int, bits: int, chunks: int) -> Mask:
    """Which of the chunks may hold the value with this hash, by the run of entries that it would be among."""
    entries = np.frombuffer(run, dtype=ENTRY)
    held = np.zeros(chunks, dtype=bool)
    held[entries["place"][entries["rest"] == (key >> (16 - bits) & 0xFFFF)]] = True
    return held
