"""Starting a server as another user than root, without giving up reach.

PostgreSQL refuses to run as root. A clone under a home that only root may enter (0700) is out of reach for any other
user, though: the program, its libraries and its data all lie below. So the child changes its uid and keeps one
capability, CAP_DAC_OVERRIDE, as an ambient one (capabilities(7)): it may pass the directories, and owns nothing else.
"""

import contextlib
import ctypes
import os
import pwd
import signal
from collections.abc import Callable
from pathlib import Path

from apps.core.priority import usual_turns, want_short_turns

__all__ = ["child_setup", "chown_tree", "die_with_parent", "end_with_parent", "name_process", "server_uid", "step_back"]

_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_SET_NAME = 15
_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_CAP_DAC_OVERRIDE = 1
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32)]


def server_uid() -> tuple[int, int] | None:
    """The (uid, gid) that servers run under when we are root, else None: they run as we do."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry.pw_uid, entry.pw_gid
    return 65534, 65534


def chown_tree(root: Path, owner: tuple[int, int]) -> None:
    """Give a directory and all below to ``owner``, where it is not theirs yet."""
    if root.stat().st_uid == owner[0]:
        return
    for directory, _, files in os.walk(root):
        os.chown(directory, *owner)
        for name in files:
            os.chown(os.path.join(directory, name), *owner, follow_symlinks=False)


def child_setup(
    *, become: tuple[int, int] | None = None, parent_pid: int | None = None, prompt: bool = False
) -> Callable[[], None]:
    """What a child does between fork and exec: change user where asked, and die with its parent.

    ``prompt`` is one that somebody waits for: it gets the processor soon.

    The kernel sends SIGKILL when the thread that forked ends (PR_SET_PDEATHSIG), which a change of uid would clear, so
    it is set last; a parent that is gone by then is noticed by its pid.
    """
    expected = parent_pid if parent_pid is not None else os.getpid()

    def setup() -> None:
        if prompt:
            want_short_turns()
        else:
            usual_turns()
        if become is not None:
            # access(2) forgets the capabilities of a user that is not root, unless this bit is set; initdb asks it.
            _libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
            _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
            os.setgroups([])
            os.setresgid(become[1], become[1], become[1])
            os.setresuid(become[0], become[0], become[0])
            _keep_dac_override()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != expected:
            os._exit(1)

    return setup


def _keep_dac_override() -> None:
    """Best effort: where the capability is not ours to keep, the directories must be passable by themselves."""
    mask = 1 << _CAP_DAC_OVERRIDE
    header = _Header(_CAPABILITY_VERSION_3, 0)
    data = (_Data * 2)(_Data(mask, mask, mask), _Data(0, 0, 0))
    if _libc.capset(ctypes.byref(header), data) == 0:
        _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_DAC_OVERRIDE, 0, 0)


def die_with_parent() -> None:
    """Ask the kernel to end this process with its parent: for workers that a server of somebody else's code forks."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def end_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def name_process(name: str) -> None:
    """What ``ps`` and ``top`` call this process, in 15 characters."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def step_back(nice: int) -> None:
    """Let others go first by so much (0 to 19), also where the kernel shares the processor out by session."""
    if nice:
        os.nice(nice)
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice))
