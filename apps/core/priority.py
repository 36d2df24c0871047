"""Letting others go first, as long as nothing waits too long for it.

Where the processor is short, what runs behind others' backs is better done in what they leave over: Linux has the
class ``SCHED_IDLE`` for that, which gives way at once to whatever wakes. What they leave over may be nothing, so
whoever steps aside has to be able to come forward again; Linux lets a process do so that has ``CAP_SYS_NICE`` or a
limit ``RLIMIT_NICE`` that its nice value is within. Others stay in the usual class.

Where the kernel shares the processor out by session (``kernel.sched_autogroup_enabled``), classes count inside a
session only; there the session's share is made small.

The other way round, what somebody waits for asks for short turns (Linux 6.12 and later): whoever runs is interrupted
for one that wakes and wants little, in whatever session, where it would keep the processor to the end of its turn
otherwise (docs/decisions/0032).
"""

import contextlib
import ctypes
import logging
import os
import platform
import struct
import sys
import threading
from collections.abc import Set
from pathlib import Path

__all__ = ["Aside", "turns_of", "usual_turns", "want_short_turns"]

logger = logging.getLogger(__name__)

# The share of a session that stepped aside, as a nice value.
_LAST = 19

# sched_setattr(2), for which neither Python nor the GNU C library before 2.41 has a name, and sched_getattr(2).
_SYSCALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
# struct sched_attr: its size, the class, flags, the nice value, the priority, and runtime, deadline, period in ns. Of a
# usual class the runtime is the turn that is wished for, from 0.1 to 100 ms; 0 is the usual one.
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")
_SHORT_NS = 300_000


def want_short_turns() -> None:
    """Have this thread, and the threads and processes it starts, get the processor soon and for a short while.

    For what answers somebody. Its share stays the same. Without effect where the system knows no such wish.
    """
    _wish(0, _SHORT_NS)


def usual_turns(pid: int = 0) -> None:
    """Have this thread, or the first one of a process, take turns as long as the system's own."""
    _wish(pid, 0)


def turns_of(thread: int = 0) -> int:
    """The length in nanoseconds of a thread's turns; 0 where the system does not say."""
    calls = _syscalls()
    found = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if calls is None or _libc().syscall(calls[1], thread, found, _ATTRIBUTES.size, 0):
        return 0
    turn: int = _ATTRIBUTES.unpack(found.raw)[5]
    return turn


def _wish(thread: int, nanoseconds: int) -> None:
    calls = _syscalls()
    if calls is None:
        return
    with contextlib.suppress(OSError):
        known = (os.sched_getscheduler(thread), 0, os.getpriority(os.PRIO_PROCESS, thread))
        asked = _ATTRIBUTES.pack(_ATTRIBUTES.size, *known, 0, nanoseconds, 0, 0)
        # Whether it is granted changes nothing but how long somebody waits.
        _libc().syscall(calls[0], thread, ctypes.create_string_buffer(asked, len(asked)), 0)


def _syscalls() -> tuple[int, int] | None:
    return _SYSCALLS.get(platform.machine()) if sys.platform == "linux" else None


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Aside:
    """This process, with those that work for it: at the back of the queue, in its usual place, or like others."""

    def __init__(self) -> None:
        self.able = _can_return()
        self.is_aside = self.is_forward = False
        self._lock = threading.Lock()
        # Process ids come again: each is known by the moment of its start, too.
        self._helpers: dict[int, str] = {}
        self._spared: set[int] = set()
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)

    def spare_this_thread(self) -> None:
        """Leave the calling thread where it is: it is the one that brings the others forward."""
        self._spared.add(threading.get_native_id())

    def add_helper(self, pid: int, name: str) -> None:
        """A process on this machine that works for this one and is called ``name``; nothing where it is not ours."""
        if _name(pid) != name:
            return
        # It may have been started by one whose turns are short.
        usual_turns(pid)
        if not self.able or not _may_place(pid):
            return
        started = _started(pid)
        if started is None:
            return
        with self._lock:
            self._helpers = {known: when for known, when in self._helpers.items() if _started(known) == when}
            self._helpers[pid] = started
            if self.is_aside:
                _place(pid, aside=True, nice=0)

    def step_aside(self) -> None:
        """Run in what others leave over."""
        self._move(aside=True, forward=False)

    def come_back(self) -> None:
        """Run as it did in the beginning; it stays where it is where it came further forward."""
        if self.is_aside:
            self._move(aside=False, forward=False)

    def come_forward(self) -> None:
        """Run as others do, also where the process began with a nice value."""
        self._move(aside=False, forward=True)

    def _move(self, *, aside: bool, forward: bool) -> None:
        if not self.able:
            return
        with self._lock:
            if (self.is_aside, self.is_forward) == (aside, forward):
                return
            self.is_aside, self.is_forward = aside, forward
            _place(os.getpid(), aside=aside, nice=0 if forward else self._nice, spared=self._spared)
            for pid, started in self._helpers.items():
                if _started(pid) == started:
                    _place(pid, aside=aside, nice=0)


def _can_return() -> bool:
    """Whether a thread that stepped aside may come forward; tried by one that ends then."""
    found: list[bool] = []

    def look() -> None:
        try:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
            found.append(True)
        except (OSError, AttributeError):
            found.append(False)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return found[0]


def _may_place(pid: int) -> bool:
    try:
        os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    except OSError:
        return False
    return True


def _place(pid: int, *, aside: bool, nice: int, spared: Set[int] = frozenset()) -> None:
    """All threads of a process; those that it starts later do as the one that starts them."""
    policy = os.SCHED_IDLE if aside else os.SCHED_OTHER
    try:
        for thread in map(int, os.listdir(f"/proc/{pid}/task")):
            if thread in spared:
                continue
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(thread, policy, os.sched_param(0))
                with contextlib.suppress(PermissionError):
                    os.setpriority(os.PRIO_PROCESS, thread, nice)
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(str(_LAST if aside else nice))
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.warning("process %d keeps its place in the queue for the processor: %s", pid, error)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process began, in ticks since the machine did."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
