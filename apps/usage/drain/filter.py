"""May a key have been seen? A Bloom filter of which a key touches one cache line.

A line is eight 64-bit words. A key sets four bits in each of two words of its line: 16 bits a key make one key in 800
that was never seen a suspect, 20 bits one in 2,100, 12 bits one in 200. There are never false negatives; who is
suspected is looked up exactly (:mod:`apps.usage.drain.dedupe`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from apps.usage.drain.keys import U64

__all__ = ["STRIPES", "STRIPE_SECONDS", "Filter", "Marks", "stripe_at"]

STRIPES = 8
# Seven whole stripes and the current one cover at least 7 × 28 h = 8 days and 4 hours.
STRIPE_SECONDS = 28 * 3600
_LINE_BITS = 512
# So that a filter can be halved six times, and the smallest takes a page of memory.
_LINES = 64
_PATTERNS = 12


def _four_bits() -> U64:
    """So many words with four bits set: which of them a key sets is a look into this."""
    chosen = np.random.default_rng(20).random((1 << _PATTERNS, 64)).argsort(axis=1)[:, :4].astype(np.uint64)
    words: U64 = np.bitwise_or.reduce(np.uint64(1) << chosen, axis=1)
    return words


_WORDS = _four_bits()
_32, _3 = np.uint64(32), np.uint64(3)
_WORD, _PATTERN = np.uint64(7), np.uint64((1 << _PATTERNS) - 1)


def stripe_at(seconds: float) -> int:
    """The stripe of a moment (seconds since 1970)."""
    return int(seconds // STRIPE_SECONDS)


@dataclass(frozen=True, slots=True)
class Marks:
    """What keys set in a filter of whatever size: worked out once for all filters they are looked for in."""

    line: U64
    word: U64
    other: U64
    bits: U64
    other_bits: U64

    @classmethod
    def of(cls, hi: U64, lo: U64) -> "Marks":
        """Where keys are sorted by ``hi`` the lines they touch lie in order: that is what makes it fast."""
        word = lo & _WORD
        # One of the seven others, so that the bits of a key never meet.
        other = word ^ (np.uint64(1) + ((((lo >> _3) & np.uint64(0x1FFF)) * np.uint64(7)) >> np.uint64(13)))
        bits = _WORDS[((lo >> np.uint64(16)) & _PATTERN).view(np.int64)]
        other_bits = _WORDS[((lo >> np.uint64(28)) & _PATTERN).view(np.int64)]
        return cls(hi >> _32, word, other, bits, other_bits)

    def at(self, places: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Marks":
        """Those of some of the keys."""
        return Marks(
            self.line[places], self.word[places], self.other[places], self.bits[places], self.other_bits[places]
        )


class Filter:
    """Beyond what it is made for it gets fuller and slower, never wrong."""

    __slots__ = ("_lines", "_words", "ids", "made_for")

    def __init__(self, made_for: int, bits: float) -> None:
        """For so many ids of so many bits; memory is taken as it is written to."""
        self._lines = max(1, -(-int(made_for * bits) // (_LINE_BITS * _LINES))) * _LINES
        self._words: U64 = np.zeros(self._lines * 8, dtype=np.uint64)
        self.made_for = made_for
        self.ids = 0

    @property
    def bytes(self) -> int:
        return int(self._words.nbytes)

    def _places(self, line: U64, word: U64) -> npt.NDArray[np.int64]:
        places = line * np.uint64(self._lines)
        places >>= _32
        places <<= _3
        places |= word
        return places.view(np.int64)

    def suspects(self, marks: Marks) -> npt.NDArray[np.int64]:
        """Positions of the keys that may have been added, ascending."""
        if not self.ids:
            return np.zeros(0, dtype=np.int64)
        places = self._places(marks.line, marks.word)
        maybe = np.flatnonzero((self._words[places] & marks.bits) == marks.bits)
        if not len(maybe):
            return maybe
        line = places[maybe] & ~7
        bits = marks.other_bits[maybe]
        found: npt.NDArray[np.int64] = maybe[(self._words[line | marks.other[maybe].view(np.int64)] & bits) == bits]
        return found

    def add(self, marks: Marks) -> None:
        """Remember keys. One thread at a time."""
        self._set(self._places(marks.line, marks.word), marks.bits)
        self._set(self._places(marks.line, marks.other), marks.other_bits)
        self.ids += len(marks.line)

    def _set(self, places: npt.NDArray[np.int64], bits: U64) -> None:
        words = self._words
        words[places] |= bits
        # Of keys that meet in a word the last one won: the others' bits once more, one by one.
        lost = np.flatnonzero((words[places] & bits) != bits)
        if len(lost):
            np.bitwise_or.at(words, places[lost], bits[lost])

    @property
    def bits_a_key(self) -> float:
        return self.bytes * 8 / max(1, self.ids)

    @property
    def can_halve(self) -> bool:
        return self._lines % 2 == 0

    def halved(self) -> "Filter":
        """The same keys in half the room: each two lines become one."""
        half = Filter.__new__(Filter)
        pairs = self._words.reshape(-1, 2, 8)
        half._lines = self._lines // 2
        half._words = (pairs[:, 0] | pairs[:, 1]).reshape(-1)
        half.made_for, half.ids = self.made_for // 2, self.ids
        return half
