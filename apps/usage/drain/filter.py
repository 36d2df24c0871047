"""Which stripes may have seen a key: one memory access answers for all eight.

A row of eight 64-bit words, a word for each stripe of receipt. A key sets three bits in each of two rows. There are
false positives, never false negatives; who is suspected is looked up exactly (:mod:`apps.usage.drain.dedupe`).
"""

import numpy as np
import numpy.typing as npt

from apps.usage.drain.keys import U64

__all__ = ["STRIPES", "STRIPE_SECONDS", "StripedFilter", "stripe_at"]

STRIPES = 8
# Seven whole stripes and the current one cover at least 7 × 28 h = 8 days and 4 hours.
STRIPE_SECONDS = 28 * 3600
_ONE, _63 = np.uint64(1), np.uint64(63)
_6, _12 = np.uint64(6), np.uint64(12)
_BITS_A_KEY = 12


def stripe_at(seconds: float) -> int:
    """The stripe of a moment (seconds since 1970)."""
    return int(seconds // STRIPE_SECONDS)


class StripedFilter:
    """Of a fixed size: beyond what it is made for it gets fuller and slower, never wrong. See :meth:`wanted`."""

    def __init__(self, *, min_bytes: int = 1 << 23, max_bytes: int = 1 << 27) -> None:
        self._bits = max(4, (min(min_bytes, max_bytes) // 64).bit_length() - 1)
        self._max_bits = max(self._bits, (max_bytes // 64).bit_length() - 1)
        self._words = np.zeros((1 << self._bits, STRIPES), dtype=np.uint64)
        self._filled = [0] * STRIPES

    @property
    def bytes(self) -> int:
        return int(self._words.nbytes)

    def clear(self, stripe: int) -> None:
        """Forget the stripe that had this column before."""
        self._words[:, stripe % STRIPES] = 0
        self._filled[stripe % STRIPES] = 0

    def wanted(self, ids: int = 0) -> int | None:
        """The bytes of a roomier filter, where the fullest column is past three quarters of what it is made for.

        ``ids`` is for a filter yet to be filled: what its fullest column will hold. None where this one will do, or
        is as large as it may be.
        """
        fullest = max(ids, *self._filled) * _BITS_A_KEY
        bits = self._bits
        while bits < self._max_bits and fullest * 4 > 3 * (64 << bits):
            bits += 1
        return (64 << bits) if bits > self._bits else None

    def roomier(self, size: int) -> "StripedFilter":
        """An empty one of so many bytes; the keys must be said to it again.

        Stretching the table instead (each row twice) keeps every false positive of the old one: after a few
        stretches a third of all new keys were suspects.
        """
        return StripedFilter(min_bytes=size, max_bytes=64 << self._max_bits)

    def _places(self, hi: U64, lo: U64) -> tuple[U64, U64, U64, U64]:
        shift = np.uint64(64 - self._bits)
        first = (_ONE << (lo & _63)) | (_ONE << ((lo >> _6) & _63)) | (_ONE << ((lo >> _12) & _63))
        second = (_ONE << (hi & _63)) | (_ONE << ((hi >> _6) & _63)) | (_ONE << ((hi >> _12) & _63))
        return hi >> shift, first, lo >> shift, second

    def suspects(self, hi: U64, lo: U64) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Positions of the keys that may have been seen, and for each the eight columns in which."""
        row1, bits1, row2, bits2 = self._places(hi, lo)
        held = [column for column, filled in enumerate(self._filled) if filled]
        first = np.zeros((len(hi), STRIPES), dtype=bool)
        flat, eight = self._words.reshape(-1), np.uint64(STRIPES)
        base = (row1 * eight).astype(np.int64)
        if len(held) > STRIPES // 2:
            first = (self._words[row1] & bits1[:, None]) == bits1[:, None]
        else:
            for column in held:
                first[:, column] = (flat[base + column] & bits1) == bits1
        maybe = np.flatnonzero(first.any(axis=1))
        if not len(maybe):
            return maybe, first[maybe]
        wanted = bits2[maybe][:, None]
        both = first[maybe] & ((self._words[row2[maybe]] & wanted) == wanted)
        hit = both.any(axis=1)
        return maybe[hit], both[hit]

    def add(self, stripe: int, hi: U64, lo: U64) -> None:
        """Remember keys under a stripe."""
        row1, bits1, row2, bits2 = self._places(hi, lo)
        column = np.uint64(stripe % STRIPES)
        flat = self._words.reshape(-1)
        eight = np.uint64(STRIPES)
        # Two keys may meet in one word, which plain assignment would let one of them lose.
        np.bitwise_or.at(flat, (row1 * eight + column).astype(np.int64), bits1)
        np.bitwise_or.at(flat, (row2 * eight + column).astype(np.int64), bits2)
        self._filled[stripe % STRIPES] += len(hi)
