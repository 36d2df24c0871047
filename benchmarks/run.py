"""``make bench``: a fresh instance of its own, and every benchmark through its address.

``make bench ARGS="startup ingest --seconds 10"`` chooses. What each prints is what docs/benchmarks.md cites.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ingest import calibrate
from benchmarks.routes import measure

ROOT = Path(__file__).resolve().parents[1]
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Instance:
    """``manage.py up`` on a directory that goes away with it, or on one that stays (``keep``)."""

    def __init__(self, keep: str | None = None) -> None:
        self.is_kept = keep is not None
        self.data_dir = Path(keep).resolve() if keep else Path(tempfile.mkdtemp(prefix="mwb-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, **environment: str) -> tuple[float, dict[str, Any]]:
        """Returns the seconds until it was ready, and what it said."""
        own = {"MINDWEAVE_DATA_DIR": str(self.data_dir), "MINDWEAVE_PORT": str(self.port)}
        began = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--json"],
            cwd=ROOT, env={**os.environ, **own, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(self.process.stderr.read())
        return time.perf_counter() - began, json.loads(line)

    def stop(self) -> float:
        """Returns the seconds until nothing was left of it."""
        began = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        return time.perf_counter() - began

    def memory(self) -> int:
        """Bytes that all its processes hold together, each shared page shared out (PSS)."""
        total = 0
        for entry in Path("/proc").iterdir():
            try:
                if str(self.data_dir).encode() in (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes():
                    rollup = (entry / "smaps_rollup").read_text()
                    total += int(rollup.split("Pss:")[1].split()[0]) * 1024
            except (OSError, IndexError):
                continue
        return total

    def remove(self) -> None:
        if not self.is_kept:
            shutil.rmtree(self.data_dir, ignore_errors=True)


def startup(rest: list[str]) -> int:
    """How long the first start takes, with the demo's history, and the later ones; how long the end."""
    instance = Instance()
    try:
        for word in ("first start, with demo data", "second start", "third start"):
            seconds, _ = instance.start()
            memory = instance.memory()
            end = instance.stop()
            print(f"{word}: ready after {seconds:.1f} s, {memory / 2**20:.0f} MB, ended in {end:.1f} s", flush=True)
    finally:
        instance.remove()
    return 0


def ingest(rest: list[str]) -> int:
    """Events a second through the front, and whether every sum is exact.

    ``--keep DIR`` keeps the instance there; with ``--search``, the next run there searches what this one stored.
    """
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--keep")
    kept, rest = parser.parse_known_args(rest)
    instance = Instance(kept.keep)
    instance.start(DEMO="0")
    try:
        command = [sys.executable, "benchmarks/ingest.py", "--url", instance.url, "--data-dir", str(instance.data_dir)]
        command += ["--accounts", str(instance.data_dir / "bench.json")] if kept.keep else []
        command += ["--pid", str(instance.process.pid), "--orgs", "10", *rest]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:
        instance.stop()
        instance.remove()


def search(rest: list[str]) -> int:
    """Searches of raw events over ten million rows of one organisation."""
    return ingest(
        ["--orgs", "1", "--people", "200", "--rate", "100000", "--seconds", "101", "--days", "6.99", "--search", *rest]
    )


def seed(rest: list[str]) -> int:
    """Fill a running instance (``--data-dir``) with months of rollups; not among those that run by default."""
    return subprocess.run([sys.executable, "-m", "benchmarks.seed", *rest], cwd=ROOT, check=False).returncode


def pages(rest: list[str]) -> int:
    """What each page costs on 90 days of 20 organisations of 200 people, cold and warm."""
    instance = Instance()
    instance.start(DEMO="0")
    try:
        data = ["--data-dir", str(instance.data_dir)]
        made = subprocess.run(
            [sys.executable, "-m", "benchmarks.seed", *data, *rest],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        facts = json.loads(made.stdout)
        print(f"seeded in {facts['seconds']} s: " + ", ".join(
            f"{rows:,} rows of {table}s ({events:,} events)" for table, (rows, events) in facts["rows"].items()
        ), flush=True)  # fmt: skip
        who = [f"--{name}={facts[name]}" for name in ("email", "password", "slug")]
        command = [sys.executable, "-m", "benchmarks.pages", "--url", instance.url, *data, *who]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:
        instance.stop()
        instance.remove()


def keys(rest: list[str]) -> int:
    """What authenticating an API key costs, in process and over HTTP."""
    instance = Instance()
    _, facts = instance.start()
    try:
        command = [sys.executable, "-m", "benchmarks.keys", "--url", instance.url, "--key", facts["api_key"]]
        command += ["--data-dir", str(instance.data_dir), *rest]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:
        instance.stop()
        instance.remove()


def routes(rest: list[str]) -> int:
    """What each route costs through the front, on the demo's data."""
    instance = Instance()
    # One caller asks more in a minute than a person would.
    _, facts = instance.start(API_REQUESTS_PER_MINUTE="1000000")
    try:
        measure(instance.url, facts)
    finally:
        instance.stop()
        instance.remove()
    return 0


def signin(rest: list[str]) -> int:
    """What signing in costs without the hashing, twenty in flight."""
    instance = Instance()
    instance.start()
    try:
        command = [sys.executable, "-m", "benchmarks.signin", "--data-dir", str(instance.data_dir)]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:
        instance.stop()
        instance.remove()


def permissions(rest: list[str]) -> int:
    """What a permission check costs, by role, by an own role and by a right on one project, twenty in flight."""
    instance = Instance()
    _, facts = instance.start(API_REQUESTS_PER_MINUTE="1000000")
    try:
        command = [sys.executable, "-m", "benchmarks.permissions", "--url", instance.url]
        command += ["--data-dir", str(instance.data_dir), "--org", facts["org_id"], "--project", facts["project_id"]]
        return subprocess.run(command, cwd=ROOT, check=False).returncode
    finally:
        instance.stop()
        instance.remove()


def dedupe(rest: list[str]) -> int:
    """What counting once costs by how many ids are remembered, on a PostgreSQL of its own."""
    return subprocess.run([sys.executable, "-m", "benchmarks.dedupe", *rest], cwd=ROOT, check=False).returncode


BENCHMARKS: dict[str, Callable[[list[str]], int]] = {
    "startup": startup,
    "routes": routes,
    "signin": signin,
    "keys": keys,
    "permissions": permissions,
    "ingest": ingest,
    "dedupe": dedupe,
    "search": search,
    "pages": pages,
}
_ASKED: dict[str, Callable[[list[str]], int]] = {"seed": seed}


def main() -> int:
    """Run what is named, or everything; the exit code is not 0 where a sum was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; all by default")
    options, rest = parser.parse_known_args()
    if unknown := set(options.names) - {*BENCHMARKS, *_ASKED}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE / 2**30
    print(f"{calibrate()}; {memory:.0f} GB; Python {sys.version.split()[0]}", flush=True)
    failed = 0
    for name in options.names or BENCHMARKS:
        print(f"\n{name}", flush=True)
        failed |= (BENCHMARKS | _ASKED)[name](rest)
    return failed


if __name__ == "__main__":
    sys.exit(main())
