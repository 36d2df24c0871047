"""One parent for all processes of an instance: starts them, starts them again, stops them in order, leaves nothing.

Children are of two kinds: programs (exec), and functions of ours (fork of the parent, which has Django loaded but no
connection and no thread, so a fork costs neither the second of imports nor their memory again).
Every child dies with the parent (PR_SET_PDEATHSIG), so ``kill -9`` of the supervisor leaves nothing either.
"""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from apps.core.dev.privileges import child_setup, name_process, step_back

__all__ = ["Child", "Program", "Supervisor", "run_forked"]

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 10.0
_CALM = 30.0


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs: a command, or a function of ours; ``grace`` is the time in seconds it gets to end.

    ``socket`` is where it listens: one that was killed leaves the file behind, and the next could not listen there.
    ``prompt`` is one that somebody waits for (:func:`apps.core.priority.want_short_turns`).
    """

    name: str
    command: list[str] | None = None
    function: Callable[[], object] | None = None
    env: Mapping[str, str] | None = None
    grace: float = 2.0
    stop_signal: signal.Signals = signal.SIGTERM
    socket: Path | None = None
    nice: int = 0
    prompt: bool = False


@dataclass
class Child:
    """A program and its present process."""

    program: Program
    pid: int = 0
    started: float = 0.0
    backoff: float = _BACKOFF_FIRST
    due: float = field(default=0.0)
    restarts: int = 0


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _fork(function: Callable[[], object], log: Path, name: str = "once", *, nice: int = 0, prompt: bool = False) -> int:
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    # The child's collector need not look through what is here already: it would write to, and so copy, each page of it.
    gc.freeze()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        child_setup(parent_pid=parent, prompt=prompt)()
        _redirect(log)
        name_process(f"mw-{name}")
        step_back(nice)
        function()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def run_forked(function: Callable[[], object], log: Path) -> int:
    """Run ``function`` in a forked child and wait; returns its exit code. What it prints goes to ``log``."""
    _, status = os.waitpid(_fork(function, log), 0)
    return os.waitstatus_to_exitcode(status)


class Supervisor:
    """Keeps children running until :meth:`stop`."""

    def __init__(self, log_dir: Path, say: Callable[[str], None]) -> None:
        self.log_dir = log_dir
        self.say = say
        self.children: list[Child] = []
        self.stopping = False

    def start(self, program: Program) -> Child:
        """Start a program and keep it running."""
        child = Child(program)
        self.children.append(child)
        self._launch(child)
        return child

    def _launch(self, child: Child) -> None:
        program, log = child.program, self.log_dir / f"{child.program.name}.log"
        if program.socket is not None:
            program.socket.unlink(missing_ok=True)
        if program.function is not None:
            child.pid = _fork(program.function, log, program.name, nice=program.nice, prompt=program.prompt)
        else:
            assert program.command is not None
            with log.open("ab") as out:
                process = subprocess.Popen(
                    program.command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    env=dict(program.env) if program.env is not None else None,
                    start_new_session=True,
                    preexec_fn=child_setup(prompt=program.prompt),
                )
            child.pid = process.pid
            process.returncode = 0  # reaped below, not by Popen
        child.started = time.monotonic()

    def tend(self) -> None:
        """Reap what has ended and start again what is due; call it a few times a second."""
        for child in self.children:
            if child.pid and (code := _exit_code(child.pid)) is not None:
                self._ended(child, code)
            if not child.pid and not self.stopping and time.monotonic() >= child.due:
                child.restarts += 1
                self._launch(child)

    def _ended(self, child: Child, code: int) -> None:
        _kill_group(child.pid, signal.SIGKILL)
        child.pid = 0
        if self.stopping:
            return
        if time.monotonic() - child.started > _CALM:
            child.backoff = _BACKOFF_FIRST
        child.due = time.monotonic() + child.backoff
        self.say(
            f"{child.program.name} ended ({_word(code)}); started again in {child.backoff:.1f} s "
            f"(log: {self.log_dir / child.program.name}.log)"
        )
        child.backoff = min(child.backoff * 2, _BACKOFF_MOST)

    def stop(self) -> None:
        """Ask all to end, then insist; the last started goes first: the front closes before what is behind it."""
        self.stopping = True
        for child in reversed(self.children):
            if child.pid:
                _kill(child.pid, child.program.stop_signal)
        deadlines = {id(child): time.monotonic() + child.program.grace for child in self.children}
        while any(child.pid for child in self.children):
            for child in self.children:
                if not child.pid:
                    continue
                if _exit_code(child.pid) is not None:
                    _kill_group(child.pid, signal.SIGKILL)
                    child.pid = 0
                elif time.monotonic() > deadlines[id(child)]:
                    _kill_group(child.pid, signal.SIGKILL)
            time.sleep(0.01)


def _exit_code(pid: int) -> int | None:
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if found else None


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _kill_group(pid: int, number: signal.Signals) -> None:
    """Each child leads a session of its own, so its group is its children too."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _word(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
