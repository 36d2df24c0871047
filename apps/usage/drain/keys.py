"""Event ids as keys: mixed by a one-to-one function that is the organisation's own.

Different ids of an organisation never become one key, so exactness rests on no hash. The mixing (a Feistel network
keyed by the organisation's secret salt) spreads time-ordered ids evenly, keeps the same id of two organisations
apart, and nobody can aim an id at another organisation's.
"""

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["KEY", "U64", "id_halves", "mix", "salt_words", "session_number"]

U64 = npt.NDArray[np.uint64]
# A key as it lies in a segment, with the minute (since 1970) of its event, by which the event is found again.
KEY = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("minute", "<u4")])

_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)


def _scramble(x: U64) -> U64:
    """The finaliser of splitmix64."""
    x = (x ^ (x >> _30)) * _M1
    x = (x ^ (x >> _27)) * _M2
    return x ^ (x >> _31)


def id_halves(ids: npt.NDArray[np.void]) -> tuple[U64, U64]:
    """The upper and lower half of 16-byte ids."""
    halves = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2)
    return halves[:, 0].astype(np.uint64), halves[:, 1].astype(np.uint64)


def salt_words(salt: bytes) -> tuple[int, int]:
    """An organisation's salt as the two words that :func:`mix` takes."""
    return int.from_bytes(salt[:8], "big"), int.from_bytes(salt[8:], "big")


def mix(hi: U64, lo: U64, k1: U64, k2: U64) -> tuple[U64, U64]:
    """Four Feistel rounds, each invertible whatever the round function, so the whole is one-to-one."""
    lo = lo ^ _scramble(hi + k1)
    hi = hi ^ _scramble(lo + k2)
    lo = lo ^ _scramble(hi ^ k1)
    hi = hi ^ _scramble(lo ^ k2)
    return hi, lo


def session_number(salt: bytes, name: str) -> int:
    """The 63-bit number of a session's name within its organisation; never 0."""
    digest = hashlib.blake2b(name.encode(), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "big") >> 1 or 1
