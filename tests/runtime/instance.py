"""One instance of MindWeave under its supervisor, as a test starts, watches and ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from apps.core.dev.servers import run_dir_of
from tests.processes import ROOT
from tests.waiting import wait_for

__all__ = ["Instance", "free_port", "processes_with"]


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def processes_with(word: str) -> dict[int, str]:
    """The live processes whose command line or environment holds ``word``, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            known = command + (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if word.encode() in known and state != "Z":
            found[int(entry.name)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


class Instance:
    """``manage.py up`` on a data directory and a port of its own."""

    def __init__(self, data_dir: Path, *, root: Path = ROOT, port: int | None = None, **environment: str) -> None:
        self.data_dir, self.root, self.port = data_dir, root, port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "PROMETHEUS_MULTIPROC_DIR", "STATIC_ROOT"}
            and not name.startswith(("MINDWEAVE_", "PYTEST_"))
        }
        self.environment = kept | {
            "MINDWEAVE_DATA_DIR": str(data_dir),
            "MINDWEAVE_PORT": str(self.port),
            "DEMO": "0",
            **environment,
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, *, prefix: tuple[str, ...] = (), arguments: tuple[str, ...] = ("--json",)) -> "Instance":
        """Start the supervisor; its standard error goes to a file beside the data directory."""
        self.errors = self.data_dir.parent / f"{self.data_dir.name}.err"
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "manage.py", "up", *arguments],
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("wb"),
            text=True,
            start_new_session=True,
        )
        return self

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any other command of ``manage.py``, beside it."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def ready(self) -> dict[str, Any]:
        """Wait for the JSON line; fails with what the supervisor said where it ends instead."""
        assert self.process is not None
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended instead ({self.process.wait()}): {self.errors.read_text()}"
        facts: dict[str, Any] = json.loads(line)
        return facts

    def get(self, path: str) -> tuple[int, bytes]:
        """Fetch a path through the front."""
        with urlopen(self.url + path, timeout=20) as answer:
            return answer.status, answer.read()

    def left(self) -> dict[int, str]:
        """The processes of this instance that live."""
        # Those that write over their environment still name their socket.
        return processes_with(str(self.data_dir)) | processes_with(str(run_dir_of(self.data_dir)))

    def children(self, word: str) -> list[int]:
        """The processes of this instance with ``word`` in their command line."""
        return [pid for pid, command in self.left().items() if word in command]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the supervisor alone, wait for its end and for that of all it started."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(60)
        wait_for(lambda: not self.left(), seconds=20, what=f"the end of {self.left()}")
        return code

    def clear(self) -> None:
        """Leave nothing behind, however the test ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.left():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_for(lambda: not self.left(), seconds=20, what="the end of what was left")
