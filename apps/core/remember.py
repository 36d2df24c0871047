"""What is dear to compute: computed once, remembered for all processes.

While one computes, the others wait for that instead of doing the same (single flight). Without Redis, where the cache
is as if empty (:mod:`apps.core.cache`), everybody computes for themselves.
"""

import pickle
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache

__all__ = ["remember"]

T = TypeVar("T")

_LONGEST_WAIT = 5.0
_LOOK_EVERY = 0.02
_LARGEST = 2**20
# What stands under ``key:busy``: one computes, or what was computed is not kept, so that waiting for it is of no use.
_ONE, _EACH = "one", "each"


def remember(key: str, make: Callable[[], T], *, seconds: int = 300) -> T:
    """What ``make`` returned for ``key`` within the last ``seconds``, or its answer now.

    ``key`` names everything that the answer depends on; None is not remembered, nor is more than 1 MB. Values are kept
    as pickles in the cache, which only the product itself writes. Nobody waits for another longer than 5 seconds.
    """
    busy = f"{key}:busy"
    found, mine = _found_or_turn(key, busy)
    if found is not None:
        remembered: T = found
        return remembered
    kept = True  # until something is made that is not
    try:
        made = make()
        kept = made is not None and len(pickle.dumps(made, pickle.HIGHEST_PROTOCOL)) <= _LARGEST
        if kept:
            cache.set(key, made, timeout=seconds)
    finally:
        if mine and kept:
            cache.delete(busy)
        elif mine:
            cache.set(busy, _EACH, timeout=_LONGEST_WAIT)
    return made


def _found_or_turn(key: str, busy: str) -> tuple[Any, bool]:
    """What is remembered, or None where the caller computes; and whether others wait for it meanwhile.

    Where the one that computed ended without an answer, one of those who waited is the next and the others wait on.
    """
    deadline = time.monotonic() + _LONGEST_WAIT
    while True:
        seen = cache.get_many((key, busy))
        if key in seen:
            return seen[key], False
        if seen.get(busy) == _EACH:
            return None, False
        if busy not in seen and cache.add(busy, _ONE, timeout=_LONGEST_WAIT):
            # Between the look and the claim another may have come to its end.
            found = cache.get(key)
            if found is not None:
                cache.delete(busy)
            return found, found is None
        if time.monotonic() >= deadline:
            return None, False
        time.sleep(_LOOK_EVERY)
