"""Memory: what the machine has of it, and what a process freed and the C library kept."""

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path

__all__ = ["give_back", "hold_little", "machine_bytes"]

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


def machine_bytes(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """What this process may use at most: the machine's memory, or less where a control group (v1 or v2) says so."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return found[0]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # Within a container the path may be that of the host: then only the root of what is mounted is there.
        own = root / path.lstrip("/")
        for group in (own, *own.parents):
            if group == root.parent:
                break
            try:
                found.append(int((group / name).read_text()))
            except (OSError, ValueError):
                continue
    return min(found)
