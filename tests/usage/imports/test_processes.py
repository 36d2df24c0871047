"""The command as a real process, killed in the middle: no line is lost, none counts twice."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from apps.core.tenancy import system_scope
from apps.usage.models import Import
from tests.usage.engine.conftest import World, event, rows, value
from tests.usage.imports.conftest import PACKERS, anonymous, counted, jsonl, only, written
from tests.waiting import wait_for

pytestmark = pytest.mark.processes
ROOT = Path(__file__).resolve().parents[3]
LINES = 60_000


def start(path: Path, folder: Path) -> subprocess.Popen[bytes]:
    database = connection.settings_dict
    host = quote(str(database["HOST"]), safe="")
    environment = {
        **os.environ,
        "DATABASE_URL": f"postgres://{database['USER']}@{host}/{database['NAME']}",
        "MINDWEAVE_ENV": "development",
        "MINDWEAVE_DATA_DIR": str(folder / "data"),
        "SECRET_KEY": settings.SECRET_KEY,
        # An import must not need Redis.
        "REDIS_URL": "unix:///nowhere/redis.sock",
    }
    command = [sys.executable, "manage.py", "import_events", str(path), "--org", "acme", "--project", "main"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def accepted() -> int:
    with system_scope("test"):
        return sum(Import.objects.values_list("accepted", flat=True))


def test_kill_9_in_the_middle_neither_loses_nor_doubles_a_line(committed: None, world: World, tmp_path: Path) -> None:
    shape, ids = anonymous(input_tokens=1), LINES // 2
    half = [{**shape, "event_id": event()["event_id"]} for _ in range(ids)]
    path = written(tmp_path, PACKERS["zstd"](jsonl([*half, *([shape] * (LINES - ids))])))
    kills, before = 0, 0
    while True:
        process = start(path, tmp_path)
        try:
            moved(process, before)
            if process.poll() is None and kills < 3:
                process.send_signal(signal.SIGKILL)
                kills += 1
            output = process.communicate(timeout=60)[0].decode()
        finally:
            process.kill()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, output
        before = accepted()
        assert only(world).state == "running"
        assert counted()[0] == before
    assert kills >= 1
    assert re.search(rf"completed; {LINES:,} lines: {LINES:,} accepted, 0 duplicates, 0 rejected", output)
    assert counted() == (LINES, LINES)
    assert value("SELECT count(DISTINCT event_id) FROM usage_event") == LINES
    assert rows("SELECT sum(events) FROM usage_importchunk") == [(LINES,)]


def moved(process: subprocess.Popen[bytes], before: int) -> None:
    """Return once the process has committed something new, or ended."""
    wait_for(lambda: accepted() > before or process.poll() is not None, what="a chunk more")


def test_two_commands_with_the_same_file_count_it_once(committed: None, world: World, tmp_path: Path) -> None:
    path = written(tmp_path, jsonl([anonymous()] * 12_000))
    processes: list[Any] = [start(path, tmp_path) for _ in range(2)]
    deadline = time.monotonic() + 60
    try:
        outputs = [process.communicate(timeout=deadline - time.monotonic())[0].decode() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert counted()[0] == 12_000
    assert only(world).accepted == 12_000
