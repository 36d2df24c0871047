"""What the usage engine does by the clock. Folding is the drain's own, so that it goes on without Redis."""

import logging
from datetime import timedelta

from apps.core import clock
from apps.scheduler.registry import job
from apps.usage.drain.dedupe import drop_segments
from apps.usage.drain.filter import stripe_at
from apps.usage.drain.fold import compact_days, compact_quarters, keep_partitions
from apps.usage.drain.retention import make_partitions_ahead
from apps.usage.hinting import drop_hints, hint_some
from apps.usage.imports import job as _imports  # noqa: F401 - declares the job usage.imports
from apps.usage.ingest.attribution import forget_directory_changes
from apps.usage.repricing import reprice_step
from apps.usage.selectors.engine import stray_counts
from apps.usage.sessions import tell_sessions
from apps.usage.watch import watch_drain

logger = logging.getLogger(__name__)


@job(name="usage.partitions", every=timedelta(hours=1))
def partitions() -> dict[str, object]:
    """Make the partitions ahead, drop those past retention, and look into the default ones."""
    kept = {**keep_partitions(), **make_partitions_ahead()}
    strays = stray_counts()
    for table in (name for name, count in strays.items() if count):
        logger.warning("%s holds rows that no partition was made for", table)
    heard = forget_directory_changes(clock.now() - timedelta(hours=1))
    segments = drop_segments(stripe_at(clock.now().timestamp()))
    return {**kept, "strays": strays, "segments": segments, "hints": drop_hints(), "directory_changes": heard}


@job(name="usage.compact", every=timedelta(hours=1))
def compact() -> dict[str, int]:
    """Make one row of the several that folding leaves of a closed bucket."""
    return {"quarters": compact_quarters(), "days": compact_days()}


@job(name="usage.hints", every=timedelta(seconds=20), retries=0)
def hints() -> dict[str, int]:
    """Give hints to chunks of raw events that have none, for searches."""
    return hint_some()


@job(name="usage.sessions", every=timedelta(seconds=15), retries=0)
def sessions() -> dict[str, int]:
    """Tell the bus which sessions started and which ended."""
    return tell_sessions()


@job(name="usage.reprice", every=timedelta(seconds=5), retries=0)
def reprice() -> dict[str, int]:
    """Go on with the oldest repricing that is not done."""
    return reprice_step()


@job(name="usage.watch", every=timedelta(seconds=10), retries=0)
def watch() -> dict[str, list[int]]:
    """Look whether a shard of the drain is stuck."""
    return watch_drain()
