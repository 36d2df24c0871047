"""The numbers of who, 20 bytes each: sorted arrays, looked up for all of a flush at once.

A who (project, team, person, key, tag set of an organisation) is known by 128 bits, mixed by what is the organisation's
own secret (:mod:`apps.usage.drain.keys`): as objects in dictionaries each took half a kilobyte.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from apps.usage.drain.keys import U64, mix

__all__ = ["MAX_WHOS", "Ints", "WhoRow", "WhoTable"]

# 20 MB.
MAX_WHOS: Final = 1_000_000

Ints = npt.NDArray[np.int64]
# The number of the organisation; project, team, person, key as 16 bytes or None; the number of the tag set.
WhoRow = tuple[int, bytes | None, bytes | None, bytes | None, bytes | None, int | None]

# What stands for none: no id is like it.
_NONE: Final = bytes.fromhex("9b1d5fca3be7f12d06a8c4e3751ff2ab")


class WhoTable:
    """Which number a who has; up to :data:`MAX_WHOS`, beyond which all are forgotten."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._hi: U64 = np.empty(0, dtype=np.uint64)
        self._lo: U64 = np.empty(0, dtype=np.uint64)
        self._numbers = np.empty(0, dtype=np.int32)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return int(self._hi.nbytes + self._lo.nbytes + self._numbers.nbytes)

    @staticmethod
    def keys(rows: Sequence[WhoRow], k1: U64, k2: U64) -> tuple[U64, U64]:
        """The two halves of each row's key; ``k1`` and ``k2`` are the salts of the rows' organisations."""
        data = b"".join([half or _NONE for row in rows for half in row[1:5]])
        words: Any = np.frombuffer(data, dtype="<u8").reshape(-1, 8).astype(np.uint64)
        hi = np.array([row[0] for row in rows], dtype=np.uint64)
        lo = np.array([row[5] or 0 for row in rows], dtype=np.uint64)
        for at in range(0, 8, 2):
            hi, lo = mix(hi ^ words[:, at], lo ^ words[:, at + 1], k1, k2)
        return hi, lo

    def find(self, hi: U64, lo: U64) -> Ints:
        """The number of each key, 0 where it is not known."""
        found = np.zeros(len(hi), dtype=np.int64)
        if len(self._hi):
            place = np.minimum(np.searchsorted(self._hi, hi), len(self._hi) - 1)
            known = (self._hi[place] == hi) & (self._lo[place] == lo)
            found[known] = self._numbers[place[known]]
        return found

    def add(self, hi: U64, lo: U64, numbers: Ints) -> None:
        """Remember keys that are not known; the same one may come several times."""
        if len(self) + len(hi) > MAX_WHOS:
            self._forget()
        hi, first = np.unique(hi, return_index=True)
        place = np.searchsorted(self._hi, hi)
        self._hi = np.insert(self._hi, place, hi)
        self._lo = np.insert(self._lo, place, lo[first])
        self._numbers = np.insert(self._numbers, place, numbers[first].astype(np.int32))
