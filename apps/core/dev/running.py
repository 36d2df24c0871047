"""The programs of an instance, and what has to be true before they start."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.management import call_command

from apps.core.dev.environment import ROOT, Place
from apps.core.dev.front import front_command
from apps.core.dev.servers import ServerError
from apps.core.dev.serving import intake_programs, load, realtime_program, web_program
from apps.core.dev.supervisor import Program, run_forked

__all__ = ["check_port", "check_room", "forget_metrics", "hold_lock", "prepare", "programs"]

_ROOM = 300 * 1024 * 1024


def hold_lock(here: Place) -> IO[str]:
    """One supervisor a data directory; the lock goes with the process, however it ends."""
    lock = (here.data_dir / "up.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        raise ServerError(f"MindWeave is running here already (process {lock.read().strip() or 'unknown'}).") from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def check_port(host: str, port: int) -> None:
    """Whether the address is free; :class:`ServerError` with a sentence otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ServerError(f"Port {port} is in use; stop what uses it or set MINDWEAVE_PORT.") from error
            if error.errno == errno.EACCES:
                raise ServerError(f"Port {port} needs more rights; set MINDWEAVE_PORT to one above 1023.") from error
            raise ServerError(f"{host}:{port} cannot be listened on ({error.strerror}); see MINDWEAVE_HOST.") from error


def check_room(here: Place) -> None:
    """Whether the disk has room for a database at all."""
    free = shutil.disk_usage(here.data_dir).free
    if free < _ROOM:
        raise ServerError(
            f"The disk of {here.data_dir} has {free // 2**20} MiB free, and {_ROOM // 2**20} MiB are needed; "
            "make room or set MINDWEAVE_DATA_DIR."
        )


# ---------------------------------------------------------------- before the start
def forget_metrics() -> None:
    """Remove what the processes of earlier starts counted: gauges of the dead would be added to those of the living."""
    own = f"-{os.getpid()}.db"
    for path in settings.METRICS_DIR.glob("*.db"):
        if not path.name.endswith(own):
            path.unlink(missing_ok=True)


def prepare(here: Place, *, say: Callable[[str], None]) -> None:
    """Bring the schema, the static files and the schedule up to date; quick where nothing has changed."""
    for stale in settings.METRICS_DIR.glob("*.db"):
        if not stale.stem.endswith(f"_{os.getpid()}"):
            stale.unlink()  # the counts of processes that are gone: a scrape would add them for ever
    stamp_path, stamp = here.data_dir / "prepared.json", _stamp(here)
    try:
        known = json.loads(stamp_path.read_text())
    except (OSError, ValueError):
        known = {}
    jobs: list[tuple[str, str, list[str]]] = []
    if known.get("schema") != stamp["schema"]:
        jobs += [("Making the schema", "migrate", ["--verbosity=0"]), ("Planning the jobs", "sync_jobs", [])]
    if known.get("static") != stamp["static"]:
        jobs += [("Collecting static files", "collectstatic", ["--noinput", "--verbosity=0", "--clear"])]
    for sentence, command, arguments in jobs:
        say(f"{sentence} …")
        log = here.log_dir / f"{command}.log"
        if run_forked(lambda command=command, arguments=arguments: call_command(command, *arguments), log):  # type: ignore[misc]
            raise ServerError(f"{sentence} failed; see {log}.")
    stamp_path.write_text(json.dumps(stamp))


def _stamp(here: Place) -> dict[str, str]:
    """What the prepared state depends on: the cluster and migrations for the schema, files and packages for static."""
    migrations = sorted(path for path in ROOT.glob("apps/*/migrations/*.py"))
    jobs = sorted(ROOT.glob("apps/*/jobs.py"))
    static = sorted(path for path in (ROOT / "static").rglob("*") if path.is_file())
    lock = ROOT / "requirements.txt"
    cluster = here.data_dir / "postgres" / "PG_VERSION"
    identity = str(cluster.stat().st_ino if here.own_postgres and cluster.exists() else settings.DATABASE_URL)
    return {"schema": _digest([*migrations, *jobs, lock], identity), "static": _digest([*static, lock], "")}


def _digest(paths: list[Path], extra: str) -> str:
    digest = hashlib.sha256(extra.encode())
    for path in paths:
        stat = path.stat()
        digest.update(f"{path}\x00{stat.st_size}\x00{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


# ---------------------------------------------------------------- what runs
def programs(here: Place) -> list[Program]:
    """All programs in the order of their start; they stop in the opposite one. What they share is loaded first."""
    load()
    web, realtime = here.run_dir / "web.sock", here.run_dir / "realtime.sock"
    intake = intake_programs(here.run_dir)
    command, env = front_command(
        here.run_dir, settings.HOST, settings.PORT, web=web, realtime=realtime,
        intake=[program.socket for program in intake if program.socket],
    )  # fmt: skip
    return [
        web_program(web),
        *intake,
        realtime_program(realtime),
        Program("drain", function=lambda: call_command("drain"), grace=1.6, nice=15),
        Program("bus", function=lambda: call_command("bus")),
        Program("worker", function=_worker, grace=1.6, nice=10),
        Program("beat", function=_beat, grace=1.0, nice=10),
        Program("front", command=command, env=env, grace=1.0, stop_signal=signal.SIGINT, prompt=True),
    ]


def _celery(arguments: list[str]) -> None:
    from celery import current_app

    os.environ["MINDWEAVE_SUPERVISED"] = "1"
    # Django's checks look at all there is, and memory that is looked at is shared no longer; the suite has made them.
    os.environ["CELERY_SKIP_CHECKS"] = "1"
    current_app.start(arguments)


def _worker() -> None:
    _celery(
        [
            "worker",
            "--concurrency=2",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            "-n",
            "worker@local",
        ]
    )


def _beat() -> None:
    _celery(["beat", "--loglevel=WARNING", "--pidfile="])
