"""Processes that tests start: the product's own commands, on the test's database."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from django.db import connection

__all__ = ["ROOT", "Processes", "database_url"]

ROOT = Path(__file__).resolve().parents[1]


def database_url() -> str:
    """The address of the database that this test works on."""
    database = connection.settings_dict
    user, password, host, name = (
        quote(str(database[part] or ""), safe="") for part in ("USER", "PASSWORD", "HOST", "NAME")
    )
    login = f"{user}:{password}" if password else user
    port = f":{database['PORT']}" if database["PORT"] else ""
    return f"postgres://{login}@{host}{port}/{name}"


class Processes:
    """Starts Python processes, each the leader of a session of its own, and ends what is left of them."""

    def __init__(self, logs: Path, settings: str) -> None:
        self._logs, self._settings = logs, settings
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``python …arguments`` in the root of the tree, its output in a file of the test's folder."""
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": os.environ.get("MINDWEAVE_TEST_PROCESS_SETTINGS", self._settings),
                "DATABASE_URL": database_url(),
                **environment,
            },
            stdout=(self._logs / f"{len(self.started)}.out").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """``kill -9`` for the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        """Leave nothing behind."""
        for process in self.started:
            self.kill(process)
