"""``python -m benchmarks.dedupe``: what counting once costs, by how many ids a stripe has.

In a database of its own: flushes of ids are taken and committed as the drain does it, and after every few of them as
much is merged as there is to merge. All figures are CPU time, of this process and of PostgreSQL.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from apps.usage.drain.dedupe import DedupeIndex

FLUSH = 20_000
# Ids of an earlier flush that come again with each: like batches that are sent again.
AGAIN = 200
_TICKS = os.sysconf("SC_CLK_TCK")


def _server_cpu(parent: int) -> float:
    """CPU seconds of a PostgreSQL's processes, of those that have ended as well."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(entry.name) == parent:
            total += sum(map(int, stat[11:15])) / _TICKS
        elif int(stat[1]) == parent:
            total += sum(map(int, stat[11:13])) / _TICKS
    return total


def _memory() -> float:
    """MB of this process alone."""
    found = [line.split() for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(found[0][1]) / 1024 if found else 0.0


class Bench:
    """An index that is filled with ids that are spread evenly, as mixed ones are."""

    def __init__(self, server: int, filter_bytes: int) -> None:
        self.server = server
        self.rng = np.random.default_rng(1)
        self.index = open_index(100, filter_bytes)
        self.recent: list[tuple[np.ndarray, np.ndarray]] = []
        self.flushes = 0
        self.all: Counter[str] = Counter()

    def flush(self, stripe: int, costs: Counter[str]) -> None:
        from django.db import transaction

        from apps.usage.drain.dedupe import insert_segment

        hi, lo = (self.rng.integers(0, 2**64, FLUSH, dtype=np.uint64) for _ in range(2))
        again = int(self.rng.integers(max(1, len(self.recent))))
        if self.recent:
            hi[:AGAIN], lo[:AGAIN] = self.recent[again]
        if len(self.recent) < 1000:
            self.recent.append((hi[-AGAIN:].copy(), lo[-AGAIN:].copy()))
        before = self.index.pages_read
        began = time.process_time()
        fresh, new = self.index.take(hi, lo, np.zeros(FLUSH, dtype=np.uint32), stripe)
        middle = time.process_time()
        if int(fresh.sum()) != FLUSH - (AGAIN if self.flushes else 0):
            sys.exit(f"{int(fresh.sum())} ids of {FLUSH} were taken for new, of which {AGAIN} were counted before")
        costs["take"] += middle - began
        costs["pages"] += self.index.pages_read - before
        with transaction.atomic():
            segment = insert_segment(self.index.mask, new.stripe, 0, new.keys)
        self.index.committed(new, segment)
        costs["write"] += time.process_time() - middle
        self.flushes += 1

    def merge(self, costs: Counter[str]) -> None:
        began, server = time.process_time(), _server_cpu(self.server)
        while self.index.merge_some():
            pass
        costs["merge"] += time.process_time() - began
        costs["server merge"] += _server_cpu(self.server) - server

    def fill(self, stripe: int, ids: int) -> Counter[str]:
        """Add so many; returns what that cost in seconds."""
        costs: Counter[str] = Counter()
        false, server = self.index.false_positives, _server_cpu(self.server)
        while costs["events"] < ids:
            self.flush(stripe, costs)
            costs["events"] += FLUSH
            if self.flushes % 16 == 0:
                self.merge(costs)
        costs["server"] = _server_cpu(self.server) - server - costs["server merge"]
        costs["false"] = self.index.false_positives - false
        self.all += costs
        return costs

    def show(self, name: str, costs: Counter[str]) -> None:
        stats, layers = self.index.stats, self.index.layers
        of = {key: value / costs["events"] * 1e6 for key, value in costs.items()}
        print(
            f"  {name:<24} take {of['take']:4.2f}, write {of['write']:4.2f}, merge {of['merge']:4.2f};"
            f" PostgreSQL {of['server']:4.2f}, merge {of['server merge']:4.2f} µs an event |"
            f" false {of['false'] / 1e4:5.3f} %, pages read {of['pages'] / 1e4:5.2f} % |"
            f" {len(layers.all)} layers, {len(layers.runs())} runs, {stats['segments']} rows |"
            f" filters {layers.bytes / 2**20:.0f} MB, {layers.bytes * 8 / stats['ids']:.0f} bits an id,"
            f" process {_memory():.0f} MB",
            flush=True,
        )


def open_index(stripe: int, filter_bytes: int) -> "DedupeIndex":
    """An index that has read what the database has."""
    from apps.usage.drain.dedupe import DedupeIndex

    index = DedupeIndex(range(8), filter_bytes=filter_bytes, cache_ids=3_000_000)
    index.load(stripe)
    return index


def _rows(bench: Bench, stops: list[int], others: int) -> Iterator[tuple[str, Counter[str]]]:
    """Each stop's last million is what is shown; in the end all of it."""
    held = 0
    for upto in stops:
        if upto - held > 1_000_000:
            bench.fill(100, upto - held - 1_000_000)
        yield f"{upto / 1e6:g} M ids in one stripe", bench.fill(100, min(upto - held, 1_000_000))
        held = upto
    for stripe in range(101, 108):
        bench.fill(stripe, others)
        bench.merge(bench.all)
    yield f"8 stripes, {bench.index.stats['ids'] / 1e6:.0f} M ids", bench.fill(107, 1_000_000)
    yield "all of these together", bench.all


def _run(options: argparse.Namespace, server: int) -> None:
    from django.db import connection

    bench = Bench(server, options.filter_bytes)
    for name, costs in _rows(bench, options.ids, options.others):
        bench.show(name, costs)
    ids = bench.index.stats["ids"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('usage_id_segment')")
        size = cursor.fetchone()[0]
    del bench.index
    began, cpu, used = time.perf_counter(), time.process_time(), _server_cpu(server)
    index = open_index(107, options.filter_bytes)
    took = time.perf_counter() - began
    print(
        f"  load {took:.1f} s, {took / ids * 1e6:.3f} µs an id (CPU {(time.process_time() - cpu) / ids * 1e6:.3f},"
        f" PostgreSQL {(_server_cpu(server) - used) / ids * 1e6:.3f}); {size / ids:.0f} bytes an id in the database",
        flush=True,
    )
    for hi, lo in bench.recent:
        if index.take(hi, lo, np.zeros(len(hi), dtype=np.uint32), 107)[0].any():
            sys.exit("ids that were counted are taken for new after a restart")


def main() -> int:
    """Starts a PostgreSQL of its own; the exit code is not 0 where an id would be counted twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", default="1,5,10,20,40", help="millions in one stripe, where to look")
    parser.add_argument("--others", type=int, default=5_000_000, help="ids of each of the other seven stripes")
    parser.add_argument("--filter-bytes", type=int, default=0, help="the bound; 0 is the default one")
    options = parser.parse_args()
    options.ids = [round(float(part) * 1e6) for part in options.ids.split(",")]
    root = Path(tempfile.mkdtemp(prefix="mwb-"))
    os.environ.setdefault("MINDWEAVE_ENV", "development")
    os.environ["SECRET_KEY"] = "bench-only-" + "k" * 50
    os.environ["MINDWEAVE_DATA_DIR"] = str(root / "data")
    from apps.core.dev.servers import start_postgres

    postgres = start_postgres(root)
    try:
        os.environ["DATABASE_URL"] = postgres.url
        os.environ["DJANGO_SETTINGS_MODULE"] = "mindweave.settings"
        import django

        django.setup()
        from django.core.management import call_command

        from apps.core.memory import hold_little

        call_command("migrate", verbosity=0)
        hold_little(arenas=2, largest=1 << 20)
        # Whom all processes of this PostgreSQL come from.
        server = int(next(root.rglob("postmaster.pid")).read_text().splitlines()[0])
        _run(options, server)
    finally:
        postgres.stop()
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
