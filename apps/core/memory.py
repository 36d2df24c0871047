"""Memory that a process freed and the C library kept."""

import ctypes
import functools
from collections.abc import Callable

__all__ = ["give_back"]


@functools.cache
def _trim() -> Callable[[int], int] | None:
    """``malloc_trim`` of the GNU C library, or None where there is none."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None


def give_back() -> None:
    """Let the system have the pages that nothing uses any more: after work that needed much for a moment."""
    trim = _trim()
    if trim is not None:
        trim(0)
