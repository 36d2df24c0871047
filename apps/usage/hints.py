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
    "COMBO",
    "COMBO_WITHOUT_ERROR",
    "ENTRY",
    "FENCE",
    "FIRST_FORMAT",
    "FIRST_WHO_ENTRY",
    "FORMAT",
    "FORMATS",
    "ID",
    "MAX_CHUNKS",
    "RARE_ENTRY",
    "REQUEST",
    "SESSION",
    "SOMEWHERE",
    "WHO_ENTRY",
    "WHO_FENCE",
    "WITH_ERROR",
    "Block",
    "BlockMaker",
    "among",
    "cost_source",
    "error_code",
    "id_keys",
    "value_keys",
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
FENCE = np.dtype("<u4")
WHO_FENCE = np.dtype([("who", "<i4"), ("start", "<u4")])
WHO_ENTRY = np.dtype([("combo", "<u2"), ("place", "u1"), ("event", "<u2")])
# As it was in the first format.
FIRST_WHO_ENTRY = np.dtype([("combo", "<u2"), ("place", "u1")])
RARE_ENTRY = np.dtype([("who", "<i4"), ("place", "u1"), ("event", "<u2")])
# In the place of an event of a chunk: there are several, or it has more than can be told.
SOMEWHERE: Final = 0xFFFF
# Of a who's events of one combination in a chunk so many are told, each by itself.
_TOLD: Final = 4
# Rare are combinations with less than so many events for each chunk, the rarest first, up to such a share of all.
_RARE: Final = 2
_RARE_SHARE: Final = 16
_RUN, _MOST_BITS = 64, 16
# So many values are compared one by one.
_FEW: Final = 12
COMBO = np.dtype([("who", "<i4"), ("what", "<i4"), ("stop", "u1"), ("cost", "u1"), ("error", "<u2")])
# As they were in blocks without this bit in their count.
COMBO_WITHOUT_ERROR = np.dtype([(name, COMBO[name]) for name in ("who", "what", "stop", "cost")])
WITH_ERROR: Final = 1 << 31
_ODD, _OTHER_ODD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)

U64 = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]


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
        return Block(packed, bits, fence.astype(FENCE).tobytes(), entries.tobytes(), *whos)


def _combos_of(columns: dict[str, npt.NDArray[Any]], errors: npt.NDArray[np.uint16]) -> npt.NDArray[np.void]:
    """The combination of each event."""
    rows = np.empty(len(columns["who"]), dtype=COMBO)
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
    count = (len(distinct) | WITH_ERROR).to_bytes(4, "little")
    bits = np.packbits(held, axis=1).tobytes()
    starts += len(entries)
    packed = b"".join((count, distinct.tobytes(), bits, starts.astype(FENCE).tobytes()))
    return packed, (fence, entries + rare or None)


def _who_entries(
    who: npt.NDArray[Any], combo: npt.NDArray[Any], where: npt.NDArray[Any], event: npt.NDArray[Any]
) -> tuple[bytes, bytes]:
    order = np.argsort((who.astype(np.int64) << 24) | (combo.astype(np.int64) << 8) | where, kind="stable")
    entries = np.empty(len(order), dtype=WHO_ENTRY)
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
    fence = np.empty(len(whos) + 1, dtype=WHO_FENCE)
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
    entries = np.empty(len(chosen), dtype=RARE_ENTRY)
    entries["who"], entries["place"], entries["event"] = who[chosen], where[chosen], event[chosen]
    starts = np.zeros(combos + 1, dtype=np.int64)
    np.cumsum(np.where(is_rare, counts, 0) * RARE_ENTRY.itemsize, out=starts[1:])
    return starts, entries.tobytes()
