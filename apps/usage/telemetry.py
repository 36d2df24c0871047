"""The engine's own figures for Prometheus; every process counts for itself, `/metrics` adds them up."""

from collections import Counter as Tally
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily

from apps.core import clock
from apps.usage.contracts import Rejection

if TYPE_CHECKING:
    from apps.usage.drain.flush import Flush

__all__ = [
    "collect_inbox",
    "count_accepted",
    "count_duplicates",
    "count_refused",
    "count_rejected",
    "record_flush",
    "record_index",
]

ACCEPTED = Counter("mindweave_usage_accepted_events", "Events validated and committed to the inbox")
DUPLICATES = Counter("mindweave_usage_duplicate_events", "Events not counted again", ["found"])
REJECTED = Counter("mindweave_usage_rejected_events", "Events refused", ["code"])
REFUSED = Counter("mindweave_usage_refused_requests", "Ingest requests refused as a whole", ["code"])
DRAINED = Counter("mindweave_usage_drained_events", "Events counted", ["shard"])
UNPRICED = Counter("mindweave_usage_unpriced_events", "Events counted without a price")
FLUSH_SECONDS = Histogram(
    "mindweave_usage_flush_seconds", "Time to write a flush", buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
)
VISIBLE_SECONDS = Histogram(
    "mindweave_usage_visible_seconds",
    "From receipt of a flush's oldest event to its being counted",
    buckets=(0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 30, 300),
)
LAST_FLUSH = Gauge(
    "mindweave_usage_last_flush_timestamp_seconds", "When a shard last wrote", ["shard"], multiprocess_mode="livemax"
)
IDS = Gauge("mindweave_usage_dedupe_ids", "Event ids remembered", ["shard"], multiprocess_mode="livemax")
FILTER_BYTES = Gauge(
    "mindweave_usage_dedupe_filter_bytes", "Size of the id filter", ["shard"], multiprocess_mode="livemax"
)
SEGMENTS = Gauge("mindweave_usage_dedupe_segments", "Segments of event ids", ["shard"], multiprocess_mode="livemax")


def count_accepted(events: int) -> None:
    if events:
        ACCEPTED.inc(events)


def count_duplicates(found: str, events: int) -> None:
    """``found``: in the ``request``, or later in the ``drain``."""
    if events:
        DUPLICATES.labels(found).inc(events)


def count_rejected(rejected: Iterable[Rejection]) -> None:
    for code, events in Tally(rejection.code for rejection in rejected).items():
        REJECTED.labels(code).inc(events)


def count_refused(code: str) -> None:
    REFUSED.labels(code).inc()


def record_flush(flush: "Flush", shard: int, seconds: float) -> None:
    """A flush is committed, written in so many seconds."""
    moment = clock.now()
    DRAINED.labels(shard).inc(flush.events)
    count_duplicates("drain", flush.duplicates)
    if flush.unpriced:
        UNPRICED.inc(flush.unpriced)
    FLUSH_SECONDS.observe(seconds)
    if flush.oldest is not None:
        VISIBLE_SECONDS.observe(max(0.0, (moment - flush.oldest).total_seconds()))
    LAST_FLUSH.labels(shard).set(moment.timestamp())


def record_index(shard: int, stats: dict[str, int]) -> None:
    """How much a shard remembers."""
    IDS.labels(shard).set(stats["ids"])
    FILTER_BYTES.labels(shard).set(stats["filter_bytes"])
    SEGMENTS.labels(shard).set(stats["segments"])


def collect_inbox() -> Iterable[GaugeMetricFamily]:
    """What waits to be counted, as the database has it."""
    from apps.usage.store import inbox_state

    state = inbox_state()
    for name, text, value in (
        ("mindweave_usage_inbox_batches", "Inbox rows that wait to be counted", state.batches),
        ("mindweave_usage_inbox_events", "Events that wait to be counted", state.events),
        ("mindweave_usage_lag_seconds", "Age of the oldest event that waits", state.lag_seconds),
    ):
        yield GaugeMetricFamily(name, text, value=value)
