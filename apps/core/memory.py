"""Memory that a process freed and the C library kept."""

import ctypes
import functools
from collections.abc import Callable

__all__ = ["give_back", "hold_little"]

# Parameters of mallopt(3).
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8


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


def hold_little(*, arenas: int, largest: int) -> None:
    """Before threads start: let all of them share so many arenas, and give blocks of ``largest`` bytes back when freed.

    By itself the GNU C library makes an arena for each thread, and keeps in it blocks of up to 32 MB once one of that
    size was freed: a process that computes on large arrays holds several times what it uses.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_ARENA_MAX, arenas)
    mallopt(_MMAP_THRESHOLD, largest)
