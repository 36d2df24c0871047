"""The engine's own figures for Prometheus; every process counts for itself, `/metrics` adds them up."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from apps.core import clock
from apps.usage.contracts import Rejection
from apps.usage.heartbeat import heartbeat_of

if TYPE_CHECKING:
    from apps.usage.drain.flush import Flush

__all__ = [
    "collect_engine",
    "count_accepted",
    "count_duplicates",
    "count_folded",
    "count_outside",
    "count_refused",
    "count_rejected",
    "count_turn",
    "counted",
    "record_flush",
    "record_index",
]

ACCEPTED = Counter("mindweave_usage_accepted_events", "Events validated and committed to the inbox")
DUPLICATES = Counter("mindweave_usage_duplicate_events", "Events not counted again", ["found"])
REJECTED = Counter("mindweave_usage_rejected_events", "Events refused", ["code"])
OUTSIDE = Counter(
    "mindweave_usage_outside_settings_events", "Events outside their project's settings", ["rule", "refused"]
)
REFUSED = Counter("mindweave_usage_refused_requests", "Ingest requests refused as a whole", ["code"])
TURNS = Counter("mindweave_usage_turns", "Times that web computed what was sent; batches that wait then are one turn")
TURN_BATCHES = Counter("mindweave_usage_turn_batches", "Batches computed in these turns")
DRAINED = Counter("mindweave_usage_drained_events", "Events counted", ["shard"])
UNPRICED = Counter("mindweave_usage_unpriced_events", "Events counted without a price")
FOLDED = Counter("mindweave_usage_folded_names", "Events whose name was one too many and counts as other", ["kind"])
LIVE_SOCKETS = Gauge("mindweave_usage_live_sockets", "Open live sockets", multiprocess_mode="livesum")
LIVE_SENT = Counter("mindweave_usage_live_events", "Events shown on live sockets")
LIVE_DROPPED = Counter("mindweave_usage_live_dropped_events", "Events that came too fast for a live socket")
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
    "mindweave_usage_dedupe_filter_bytes", "Size of the id filters", ["shard"], multiprocess_mode="livemax"
)
FILTER_FULL = Gauge(
    "mindweave_usage_dedupe_filter_full", "Whether the id filters hold more than they have room for", ["shard"],
    multiprocess_mode="livemax",
)  # fmt: skip
FALSE_POSITIVES = Gauge(
    "mindweave_usage_dedupe_false_positives", "Ids suspected and not found, since the shard began", ["shard"],
    multiprocess_mode="livemax",
)  # fmt: skip
SEGMENTS = Gauge("mindweave_usage_dedupe_segments", "Segments of event ids", ["shard"], multiprocess_mode="livemax")


def count_accepted(events: int) -> None:
    if events:
        ACCEPTED.inc(events)


def count_duplicates(found: str, events: int) -> None:
    """``found``: in the ``request``, or later in the ``drain``."""
    if events:
        DUPLICATES.labels(found).inc(events)


def count_rejected(rejected: Sequence[Rejection]) -> None:
    if not rejected:
        return
    for code, events in Tally(rejection.code for rejection in rejected).items():
        REJECTED.labels(code).inc(events)


def count_outside(rule: str, events: int, *, refused: bool) -> None:
    """``rule``: which setting they are outside of, the ``model`` or the ``source``."""
    OUTSIDE.labels(rule, "yes" if refused else "no").inc(events)


def count_turn(batches: int) -> None:
    """So many batches were computed together."""
    TURNS.inc()
    TURN_BATCHES.inc(batches)


def count_refused(code: str) -> None:
    REFUSED.labels(code).inc()


def count_folded(kind: str, events: int) -> None:
    """``kind``: of which name an organisation has more than its share (:mod:`apps.usage.drain.bounds`)."""
    FOLDED.labels(kind).inc(events)


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
    heartbeat_of(shard).flushed(flush)


def record_index(shard: int, stats: dict[str, int]) -> None:
    """A shard lives, works on the slots of the mask ``slots``, and remembers so much."""
    IDS.labels(shard).set(stats["ids"])
    FILTER_BYTES.labels(shard).set(stats["filter_bytes"])
    FILTER_FULL.labels(shard).set(stats.get("filter_full", 0))
    FALSE_POSITIVES.labels(shard).set(stats.get("false_positives", 0))
    SEGMENTS.labels(shard).set(stats["segments"])
    heartbeat_of(shard).alive(stats["slots"], stats)


# ---------------------------------------------------------------------------------------------- at the scrape
def collect_engine() -> Iterable[GaugeMetricFamily]:
    """What waits, how the shards are, and who sends most: as the database has it."""
    from apps.usage.selectors.engine import engine_state, set_aside_state, upkeep_failing

    state = engine_state()
    for name, text, value in (
        ("inbox_batches", "Inbox rows that wait to be counted", state.batches),
        ("inbox_events", "Events that wait to be counted", state.events),
        ("lag_seconds", "Age of the oldest event that waits", state.lag_seconds),
        ("drain_events_per_second", "Events counted a second in the last ten", _rate_of(state.shards)),
    ):
        yield GaugeMetricFamily(f"mindweave_usage_{name}", text, value=value)
    yield _gauge(
        "slot_inbox_events", "Events that wait in a slot", "slot", {slot.slot: slot.events for slot in state.slots}
    )
    yield _gauge(
        "slot_lag_seconds", "Age of the oldest event that waits in a slot", "slot",
        {slot.slot: slot.lag_seconds(state.at) for slot in state.slots},
    )  # fmt: skip
    stuck = state.stalled
    yield _gauge(
        "shard_stalled", "Whether a shard is stuck (-1: slots that no drain works on)", "shard",
        {number: int(number in stuck) for number in {*(shard.shard for shard in state.shards), *stuck}},
    )  # fmt: skip
    aside = set_aside_state()
    for name, text, value in (
        ("set_aside_batches", "Inbox rows that could not be counted and are kept", aside.batches),
        ("set_aside_events", "Events in them", aside.events),
    ):
        yield GaugeMetricFamily(f"mindweave_usage_{name}", text, value=value)
    failing = GaugeMetricFamily(
        "mindweave_usage_upkeep_failing", "Work beside the counting that fails", labels=["shard", "work"]
    )
    for one in upkeep_failing():
        failing.add_metric([str(one.shard), one.work], 1)
    yield failing
    yield from _collect_day()


def _collect_day() -> Iterable[GaugeMetricFamily]:
    from apps.usage.selectors.engine import day_counts, stray_counts

    rows, every = day_counts(top=settings.USAGE_METRICS_ORGS)
    for name, text, field in (
        ("org_events_today", "Events counted since midnight UTC, of those who send most", "events"),
        ("org_unpriced_events_today", "Of these, how many without a price", "unpriced"),
    ):
        values = {row.org_id: getattr(row, field) for row in rows}
        rest = getattr(every, field) - sum(values.values())
        yield _gauge(name, text, "org", {**values, **({"other": rest} if rest else {})})
    yield _gauge("stray_rows", "Rows in default partitions, up to 1,000", "table", stray_counts())


def _rate_of(shards: Iterable[Any]) -> float:
    """The rates of all shards together."""
    return float(sum(shard.events_per_second for shard in shards))


def _gauge(name: str, text: str, label: str, values: Mapping[Any, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"mindweave_usage_{name}", text, labels=[label])
    for key, value in sorted(values.items(), key=lambda item: str(item[0])):
        family.add_metric([str(key)], value)
    return family


def counted(*names: str) -> dict[str, dict[str, float]]:
    """Counters (without their ``_total``) as all processes of this machine have them since they began: label → value.

    A counter without labels, and each that counted nothing, stands under "".
    """
    registry = CollectorRegistry()
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for family in MultiProcessCollector(registry).collect():  # type: ignore[no-untyped-call]
        if family.name in found:
            for sample in family.samples:
                found[family.name]["".join(sample.labels.values())] = sample.value
    return found
