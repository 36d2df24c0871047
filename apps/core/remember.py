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


def remember(key: str, make: Callable[[], T], *, seconds: int = 300) -> T:
    """What ``make`` returned for ``key`` within the last ``seconds``, or its answer now.

    ``key`` names everything that the answer depends on; None is not remembered, nor is more than 1 MB. Values are kept
    as pickles in the cache, which only the product itself writes.
    """
    busy = f"{key}:busy"
    found: T | None = cache.get(key)
    if found is None and not cache.add(busy, 1, timeout=_LONGEST_WAIT):
        found = _awaited(key, busy)
    if found is not None:
        return found
    try:
        made = make()
        if made is not None and len(pickle.dumps(made, pickle.HIGHEST_PROTOCOL)) <= _LARGEST:
            cache.set(key, made, timeout=seconds)
    finally:
        cache.delete(busy)
    return made


def _awaited(key: str, busy: str) -> Any:
    """What another one is making, or None where that one ended without it or takes too long."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)
        found = cache.get(key)
        if found is not None:
            return found
        if cache.get(busy) is None:
            return None
    return None
