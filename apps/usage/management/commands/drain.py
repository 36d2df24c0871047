"""``manage.py drain``: make accepted events count."""

import ctypes
import gc
import logging
import os
import signal
import sys
import threading
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import connections

from apps.core.memory import hold_little
from apps.core.tenancy import system_scope
from apps.usage.drain.shard import Shard
from apps.usage.ingest.inbox import SLOTS

logger = logging.getLogger(__name__)
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


class Command(BaseCommand):
    help = "Count accepted events: a process for each shard; ends at any error, to be started anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--shards", type=int, default=1 if (os.cpu_count() or 1) < 4 else 2, choices=range(1, SLOTS + 1),
            metavar="N",
            help="how many processes share the work (default: 2, or 1 on fewer than four cores)",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        shards: int = options["shards"]
        connections.close_all()
        children = [self._fork(number, shards) for number in range(1, shards)]
        code = 1
        try:
            code = _run_shard(0, shards, children)
        finally:
            _end(children)
        sys.stdout.flush()
        # Threads may hang in the database; nothing of them is worth waiting for.
        os._exit(code)

    def _fork(self, number: int, shards: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        os._exit(_run_shard(number, shards, []))


def _run_shard(number: int, shards: int, children: list[int]) -> int:
    """Run one shard in this process; returns its exit code. The first also watches over the others."""
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    # What `ps` and `top` show of it.
    ctypes.CDLL(None).prctl(_PR_SET_NAME, f"mw-drain-{number}".encode())
    hold_little(arenas=2, largest=1 << 20)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(0.001)
    failed = threading.Event()
    if children:
        threading.Thread(target=_watch, args=(children, stop, failed), daemon=True).start()
    try:
        with system_scope("the drain counts events of all organisations"):
            Shard(number, shards, stop).run()
    except BaseException:
        logger.exception("shard %d of the drain ends", number)
        return 1
    return 1 if failed.is_set() else 0


def _watch(children: list[int], stop: threading.Event, failed: threading.Event) -> None:
    """When one shard ends, all end: the supervisor starts them together."""
    while not stop.is_set():
        for pid in list(children):
            done, _ = os.waitpid(pid, os.WNOHANG)
            if done:
                children.remove(pid)
                failed.set()
                stop.set()
        time.sleep(0.05)


def _end(children: list[int]) -> None:
    deadline = time.monotonic() + 3
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    while children and time.monotonic() < deadline:
        children[:] = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0]
        time.sleep(0.01)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
