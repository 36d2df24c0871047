"""``python benchmarks/ingest.py``: how many events a second MindWeave takes in and counts, through its own address.

Needs a running instance: its URL, its database (for the exact check and the lag), and either a key of it
(``--api-key`` with ``--org-id``, ``--project-id``) or ``--orgs N``, which makes that many organisations with keys.
``make bench`` starts one and hands all that over.
"""

import argparse
import ctypes
import gc
import hashlib
import json
import multiprocessing
import os
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

import numpy as np
import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from apps.core.priority import want_short_turns
from apps.usage.chunks import CHUNK_FIELDS, chunk_of
from benchmarks.ingest_load import Account, Load, Outcome, TrackLoad, percentile
from benchmarks.pace import Pace, body_of, reading_ms

# prctl(2): by how many nanoseconds this thread's timers may be late; 50,000 otherwise.
_PR_SET_TIMERSLACK = 29
_TICKS = os.sysconf("SC_CLK_TCK")
# Of each organisation.
_FEW_PEOPLE = 20


# ---------------------------------------------------------------------------------------------- processes
def _role(command: str) -> str:
    """What a process of the instance is, by its command line."""
    for word, role in (
        ("postgres: ", "PostgreSQL"), ("/postgres ", "PostgreSQL"), ("redis-server", "Redis"), ("nginx", "front"),
        ("mw-drain", "drain"), (" drain", "drain"), (" bus", "bus"), ("mw-bus", "bus"), ("beat", "beat"),
        ("celery", "worker"), ("mw-worker", "worker"),
        ("mw-realtime", "realtime"), ("mw-web", "web"), ("mw-intake", "intake"),
    ):  # fmt: skip
        if word in command:
            return role
    return "other"


def _tree(roots: list[int]) -> dict[int, str]:
    """Processes below ``roots`` and their roles; a process without one takes its parent's."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path(f"/proc/{entry}/stat").read_text()
                name = Path(f"/proc/{entry}/comm").read_text().strip()
                line = Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                commands[int(entry)] = f"{name} {line}"
                parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
            except OSError:
                continue
    roles: dict[int, str] = {}
    for pid in parents:
        chain, at = [], pid
        while at in parents and at not in roots:
            chain.append(at)
            at = parents[at]
        if at in roots and pid != os.getpid():
            role = next((r for r in map(_role, (commands[p] for p in [*chain, at])) if r != "other"), "other")
            roles[pid] = role
    return roles


def _cpu(roles: dict[int, str]) -> dict[str, float]:
    """CPU seconds so far by role, those of children that have ended included."""
    seconds: dict[str, float] = {}
    for pid, role in roles.items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        seconds[role] = seconds.get(role, 0.0) + sum(map(int, fields[11:15])) / _TICKS
    return seconds


def _busy() -> float:
    """CPU seconds that the whole machine has spent so far, whoever spent them; interrupts and stolen time too."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(int(value) for place, value in enumerate(fields) if place not in (3, 4)) / _TICKS


def _memory(roles: dict[int, str]) -> float:
    """Memory of all processes in MB, shared pages counted once among those who share them."""
    total = 0
    for pid in roles:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def calibrate() -> str:
    """A line that says how fast this machine is at the moment."""
    block, started, rounds = os.urandom(1 << 20), time.perf_counter(), 0
    while time.perf_counter() - started < 0.3:
        hashlib.sha256(block).digest()
        rounds += 1
    hashed = rounds / (time.perf_counter() - started)
    started, n = time.perf_counter(), 0
    while time.perf_counter() - started < 0.3:
        for _ in range(10_000):
            n += 1
    looped = n / (time.perf_counter() - started) / 1e6
    cores = os.cpu_count() or 1
    alone = _reading_ms()
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        beside = percentile(pool.map(_reading_ms, range(cores)), 0.5)
    return (
        f"{cores} cores, load {os.getloadavg()[0]:.1f}; sha256 {hashed:.0f} MB/s, Python loop {looped:.1f} M/s on one;"
        f" JSON of 450 kB read in {alone:.2f} ms, {beside:.2f} on all at once"
    )


def _reading_ms(_: int = 0) -> float:
    """What others on the machine slow down most, as it is now."""
    body, times, started = body_of(1000), [], time.perf_counter()
    while time.perf_counter() - started < 0.4:
        times.append(reading_ms(body))
    return percentile(times, 0.5)


# What an event leaves in the server's log, in bytes, rather more than less; so much of the log is gone through at most.
_LOGGED, _MOST_LOGGED = 500, 4 << 30


def settle_log(database: str, events: int) -> None:
    """Let the server's log go through the files that ``events`` will fill, as one has that runs under such a load.

    A write into a file that is new makes the file system work, and acknowledgements wait for that; they are used again
    after a checkpoint, which comes by itself after 15 minutes or some 4 GB.
    """
    with psycopg.connect(database, autocommit=True) as connection:
        (least,) = connection.execute("SELECT pg_size_bytes(current_setting('min_wal_size'))").fetchone() or (0,)
        for _ in range(min(max(least, events * _LOGGED), _MOST_LOGGED) >> 20):
            connection.execute("SELECT pg_logical_emit_message(false, 'bench', repeat('x', 1 << 20))")
        for _ in range(2):
            connection.execute("CHECKPOINT")


# ---------------------------------------------------------------------------------------------- lag
class _LagProbe(threading.Thread):
    """From receipt to counted: looks at the oldest batch that waits, so often that a lag is at most that much too long.

    More often, looking itself would hold up the load: the query takes 0.3 ms, and its answer the load's interpreter.
    """

    EVERY = 0.025

    def __init__(self, database: str) -> None:
        super().__init__(daemon=True)
        self.database = database
        self.lags: list[float] = []
        self.depth = 0
        self._done = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self.database, autocommit=True) as connection:
            marks: list[float] = []
            while not self._done.wait(self.EVERY):
                oldest, events = connection.execute(
                    "SELECT extract(epoch FROM min(received_at))::float8, coalesce(sum(events), 0) FROM usage_inbox"
                ).fetchone() or (None, 0)
                moment = time.time()
                self.depth = max(self.depth, int(events))
                # A batch received at `mark` is counted once nothing as old waits.
                while marks and (oldest is None or marks[0] < oldest):
                    self.lags.append(moment - marks.pop(0))
                marks.append(moment)

    def stop(self) -> None:
        self._done.set()
        self.join()


# ---------------------------------------------------------------------------------------------- check
_ROLLUPS = (
    "SELECT sum(events), sum(input_tokens), sum(output_tokens), sum(events) FROM ("
    "SELECT org, events, input_tokens, output_tokens FROM usage_delta UNION ALL"
    " SELECT org, events, input_tokens, output_tokens FROM usage_rollup_quarter) s"
    " JOIN usage_org o ON o.id = s.org WHERE o.org_id = ANY(%s)"
)


def _sums(database: str, orgs: list[UUID]) -> dict[str, tuple[int, ...]]:
    """Events, input and output tokens, and distinct ids: of the raw events and of the rollups."""
    with psycopg.connect(database, autocommit=True) as connection:
        rollups = tuple(int(value or 0) for value in connection.execute(_ROLLUPS, (orgs,)).fetchone() or ())
        numbers = [row[0] for row in connection.execute("SELECT id FROM usage_org WHERE org_id = ANY(%s)", (orgs,))]
        raw = [_raw_sums(connection, number) for number in numbers]
    return {"raw": tuple(map(sum, zip(*raw, strict=True))) if raw else (0, 0, 0, 0), "rollups": rollups}


def _raw_sums(database: psycopg.Connection, number: int) -> tuple[int, int, int, int]:
    events = tokens_in = tokens_out = 0
    ids = []
    with database.transaction(), database.cursor(name="chunks", binary=True) as cursor:  # type: ignore[call-overload]
        cursor.itersize = 200
        cursor.execute(f"SELECT {CHUNK_FIELDS} FROM usage_chunk WHERE org = %s", (number,))
        for row in cursor:
            columns = chunk_of(row).columns
            events += len(columns["id"])
            tokens_in += int(columns["input"].sum(dtype=np.int64))
            tokens_out += int(columns["output"].sum(dtype=np.int64))
            ids.append(columns["id"].copy())
    if not ids:
        return 0, 0, 0, 0
    halves = np.concatenate(ids).view("<u8").reshape(-1, 2)
    halves = halves[np.lexsort((halves[:, 1], halves[:, 0]))]
    return events, tokens_in, tokens_out, 1 + int((halves[1:] != halves[:-1]).any(axis=1).sum())


def _wait_drained(database: str, seconds: float) -> float:
    """Wait until the inbox is empty; returns how long that took."""
    started = time.monotonic()
    with psycopg.connect(database, autocommit=True) as connection:
        while time.monotonic() - started < seconds:
            row = connection.execute("SELECT EXISTS (SELECT 1 FROM usage_inbox)").fetchone()
            if row and not row[0]:
                return time.monotonic() - started
            time.sleep(0.02)
    raise SystemExit("the inbox did not empty")


def _check(before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]], outcome: Outcome) -> list[str]:
    """What does not add up."""
    expected = (outcome.expected_events, outcome.expected_input, outcome.expected_output, outcome.expected_events)
    wrong = []
    for name in before:
        found = tuple(b - a for a, b in zip(before[name], after[name], strict=True))
        if found != expected:
            wrong.append(f"{name}: expected {expected}, found {found}")
    return wrong


# ---------------------------------------------------------------------------------------------- runs
def run(options: argparse.Namespace, accounts: list[Account]) -> dict[str, object]:
    """One run; prints and returns its figures."""
    orgs = [account.org_id for account in accounts]
    _wait_drained(options.database_url, 60)
    before = _sums(options.database_url, orgs)
    kind = TrackLoad if options.track else Load
    extra = {} if options.track else {"batch": options.batch, "requests": options.search}
    load = kind(
        options.url,
        accounts,
        rate=options.rate,
        seconds=options.seconds,
        connections=options.connections,
        days=options.days,
        **extra,
    )
    pace = Pace()
    cpu, busy = _cpu(_tree(options.pid)), _busy()
    probe = _LagProbe(options.database_url)
    probe.start()
    started = time.monotonic()
    outcome = _sent(load)
    seen = pace.stop()
    elapsed = outcome.last - outcome.first
    # Not what there was at the start: PostgreSQL makes a process for each thread of web that has not had one yet.
    roles = _tree(options.pid)
    memory = _memory(roles)
    left = _wait_drained(options.database_url, 120)
    whole = time.monotonic() - started
    probe.stop()
    used = {role: seconds - cpu.get(role, 0.0) for role, seconds in _cpu(roles).items()}
    used["generator"] = outcome.cpu_seconds
    others = (_busy() - busy - sum(used.values())) / whole
    events = max(1, outcome.acknowledged_events)
    figures: dict[str, object] = {
        "offered": options.rate,
        "batch": load.batch,
        "orgs": len(accounts),
        "seconds": round(elapsed, 1),
        "accepted_per_second": round(outcome.acknowledged_events / elapsed),
        "acknowledged": outcome.acknowledged_events,
        "refused_requests": outcome.refused_requests,
        "failed_requests": outcome.failed_requests,
        "ack_ms": [round(percentile(outcome.latencies, f) * 1000, 1) for f in (0.5, 0.95, 0.99)],
        "ack_ms_by_second": _by_second(outcome),
        "visible_ms": [round(percentile(probe.lags, f) * 1000) for f in (0.5, 0.95, 0.99)],
        "inbox_peak": probe.depth,
        "left_seconds": round(left, 2),
        "pace_ms": [round(percentile(seen, f), 2) for f in (0.1, 0.5, 0.9)],
        "cpu_us_per_event": {role: round(s / events * 1e6, 2) for role, s in sorted(used.items()) if s / events > 2e-8},
        "cpu_us_total": round(sum(used.values()) / events * 1e6, 2),
        "cores_busy": round(sum(used.values()) / whole, 2),
        "cores_others": round(others, 2),
        "memory_mb": round(memory),
        "wrong": _check(before, _sums(options.database_url, orgs), outcome),
    }
    print(json.dumps(figures)) if options.json else show(figures)
    return figures


def _sent(load: Load) -> Outcome:
    """All of a load, by a caller as it would be on a machine of its own."""
    # Its own collector would hold up all requests for a tenth of a second, once a run.
    gc.collect()
    gc.freeze()
    gc.disable()
    # Nor does it wait for ours to see that it was answered, or send late.
    want_short_turns()
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    try:
        return load.run()
    finally:
        gc.enable()


def _by_second(outcome: Outcome) -> list[int]:
    """The slowest ack of each second, in milliseconds: where a run stumbled."""
    slowest: dict[int, float] = {}
    for second, latency in zip(outcome.seconds, outcome.latencies, strict=True):
        slowest[second] = max(slowest.get(second, 0.0), latency)
    return [round(slowest.get(second, 0.0) * 1000) for second in range(max(slowest, default=-1) + 1)]


def show(figures: dict[str, object]) -> None:
    """A run as lines for people."""
    print(
        f"{figures['accepted_per_second']:>9,}/s of {figures['offered']:,} in batches of {figures['batch']}, "
        f"{figures['orgs']} orgs, {figures['seconds']} s | ack p50/p95/p99 {figures['ack_ms']} ms | "
        f"visible {figures['visible_ms']} ms | {figures['cpu_us_total']} µs CPU an event "
        f"{figures['cpu_us_per_event']}, "
        f"{figures['cores_busy']} cores (others {figures['cores_others']}) | {figures['memory_mb']} MB | "
        f"450 kB of JSON meanwhile p10/p50/p90 {figures['pace_ms']} ms | "
        f"left {figures['left_seconds']} s | "
        f"refused {figures['refused_requests']}, failed {figures['failed_requests']} | "
        f"{'sums exact' if not figures['wrong'] else figures['wrong']}\n"
        f"          slowest ack of each second, ms: {figures['ack_ms_by_second']}",
        flush=True,
    )


def _compare(found: list[list[dict[str, object]]]) -> None:
    """What an event costs with many organisations and with few, run by run: each pair is of one minute's pace."""
    many, few = ([float(str(pair[which]["cpu_us_total"])) for pair in found] for which in (0, 1))
    more = [a / b - 1 for a, b in zip(many, few, strict=True)]
    by_run, median = ", ".join(f"{part:+.0%}" for part in more), percentile(more, 0.5)
    print(f"          in turns: {many} µs an event against {few}: {by_run}; in the median {median:+.0%}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--data-dir", help="data directory of the instance: says its database and secrets")
    parser.add_argument("--database-url", default=os.environ.get("DATABASE_URL", ""))
    parser.add_argument("--pid", type=int, action="append", default=[], help="root of the instance's processes")
    parser.add_argument("--api-key")
    parser.add_argument("--org-id", type=UUID)
    parser.add_argument("--project-id", type=UUID)
    parser.add_argument("--orgs", type=int, default=0, help="make so many organisations with keys of their own")
    parser.add_argument("--people", type=int, default=_FEW_PEOPLE, help="people of each organisation")
    parser.add_argument("--beside", type=int, default=0, help="after each run one of so many organisations, to compare")
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--track", action="store_true", help="single events")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--days", type=float, default=0, help="let so many days pass during the run, up to now")
    parser.add_argument("--search", action="store_true", help="then search what the first organisation has stored")
    parser.add_argument("--accounts", type=Path, help="where a search writes whose events it stored, or finds them")
    parser.add_argument("--only", default="", help="searches with these words in their names")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    options = _options()
    if options.data_dir:
        os.environ["MINDWEAVE_DATA_DIR"] = options.data_dir
        from apps.core.dev.environment import enter

        enter()
        options.database_url = os.environ["DATABASE_URL"]
    if options.accounts and options.accounts.exists():
        from benchmarks.accounts import read_accounts
        from benchmarks.search import measure_search

        accounts = read_accounts(options.accounts)
        measure_search(options.url, options.database_url, accounts[0], accounts[-1], only=options.only)
        return 0
    if options.orgs:
        from benchmarks.accounts import make_accounts

        accounts = make_accounts(options.orgs, options.people)
        if options.search:
            from benchmarks.accounts import for_searches

            accounts = for_searches(accounts[0])
    else:
        from uuid import uuid4

        users = tuple(uuid4() for _ in range(options.people))
        accounts = [Account(options.api_key, options.org_id, options.project_id, users)]
    if not options.json:
        print(calibrate(), flush=True)
    series = [accounts]
    if options.beside:
        from benchmarks.accounts import make_accounts

        series.append(make_accounts(options.beside, _FEW_PEOPLE))
    settle_log(options.database_url, int(options.rate * options.seconds) * options.runs * len(series))
    found = [[run(options, those) for those in series] for _ in range(options.runs)]
    failed = any(figures["wrong"] for pair in found for figures in pair)
    if options.beside and not options.json:
        _compare(found)
    if options.search:
        from benchmarks.search import measure_search

        if options.accounts:
            from benchmarks.accounts import write_accounts

            write_accounts(options.accounts, accounts)
        measure_search(options.url, options.database_url, accounts[0], accounts[-1], is_new=True, only=options.only)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
