"""How the engine is: what waits in each slot, what its shards say of themselves, which of them are stuck.

All organisations together, for those who look after the engine.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection

from apps.core import clock
from apps.usage.ingest.inbox import SLOTS, slot_of

__all__ = [
    "NOBODY",
    "Day",
    "EngineState",
    "SetAsideState",
    "ShardState",
    "SlotState",
    "UpkeepState",
    "day_counts",
    "engine_state",
    "orgs_of_slots",
    "partition_counts",
    "set_aside_state",
    "stalled",
    "stray_counts",
    "unpriced_today",
    "upkeep_failing",
]

# The shard of slots that no drain has worked on yet.
NOBODY = -1


@dataclass(frozen=True, slots=True)
class SlotState:
    """What waits in a slot, and since when the oldest of it."""

    slot: int
    batches: int
    events: int
    oldest_at: datetime | None

    def lag_seconds(self, moment: datetime) -> float:
        return max(0.0, (moment - self.oldest_at).total_seconds()) if self.oldest_at else 0.0


@dataclass(frozen=True, slots=True)
class ShardState:
    """A shard about itself; ``flushed_at`` is None where it never wrote."""

    shard: int
    slots: tuple[int, ...]
    started_at: datetime
    seen_at: datetime
    flushed_at: datetime | None
    events_per_second: float
    ids: int
    segments: int
    filter_bytes: int
    false_positives: int
    filter_full: bool


@dataclass(frozen=True, slots=True)
class EngineState:
    """The engine at a moment: all slots, and the shards that ever said anything."""

    at: datetime
    slots: Sequence[SlotState]
    shards: Sequence[ShardState]

    @property
    def batches(self) -> int:
        return sum(slot.batches for slot in self.slots)

    @property
    def events(self) -> int:
        return sum(slot.events for slot in self.slots)

    @property
    def lag_seconds(self) -> float:
        return max(slot.lag_seconds(self.at) for slot in self.slots)

    @property
    def stalled(self) -> dict[int, tuple[int, ...]]:
        """The stuck shards and those of their slots that wait."""
        return stalled(self.slots, self.shards, self.at)


def engine_state() -> EngineState:
    """How the engine is now; two queries, whose work grows with the batches that wait."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot, count(*), coalesce(sum(events), 0), min(received_at) FROM usage_inbox GROUP BY slot"
        )
        waiting = {slot: SlotState(slot, batches, int(events), at) for slot, batches, events, at in cursor.fetchall()}
        cursor.execute(
            "SELECT shard, slots, started_at, seen_at, flushed_at, events_per_second, ids, segments, filter_bytes,"
            " false_positives, filter_full FROM usage_shard ORDER BY shard"
        )
        shards = [ShardState(row[0], _slots_in(row[1]), *row[2:]) for row in cursor.fetchall()]
    slots = [waiting.get(slot) or SlotState(slot, 0, 0, None) for slot in range(SLOTS)]
    moment = clock.now()
    # A shard that says nothing any more has no rate either.
    silent = moment - timedelta(seconds=15)
    return EngineState(moment, slots, [shard if shard.seen_at >= silent else _at_rest(shard) for shard in shards])


def stalled(slots: Iterable[SlotState], shards: Iterable[ShardState], moment: datetime) -> dict[int, tuple[int, ...]]:
    """Shards that have written nothing for ``USAGE_DRAIN_STALL_SECONDS`` while one of their slots waits as long.

    A shard that writes but does not keep up is late, not stuck: the lag tells of it.
    """
    limit = moment - timedelta(seconds=settings.USAGE_DRAIN_STALL_SECONDS)
    owners = {slot: shard for shard in shards for slot in shard.slots}
    found: dict[int, tuple[int, ...]] = {}
    for slot in slots:
        if slot.oldest_at is None or slot.oldest_at >= limit:
            continue
        owner = owners.get(slot.slot)
        if owner is None or owner.flushed_at is None or owner.flushed_at < limit:
            number = NOBODY if owner is None else owner.shard
            found[number] = (*found.get(number, ()), slot.slot)
    return found


@dataclass(frozen=True, slots=True)
class SetAsideState:
    """Batches that could not be counted and are kept, and their events."""

    batches: int
    events: int


def set_aside_state() -> SetAsideState:
    """What is set aside, of all organisations."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), coalesce(sum(events), 0)::bigint FROM usage_set_aside")
        return SetAsideState(*cursor.fetchone())


@dataclass(frozen=True, slots=True)
class UpkeepState:
    """Work of a shard beside the counting that fails, since when and why."""

    shard: int
    work: str
    since: datetime
    reason: str


def upkeep_failing() -> list[UpkeepState]:
    """The work that fails now, of all shards."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT shard, work, since, reason FROM usage_upkeep WHERE ended_at IS NULL ORDER BY shard, work"
        )
        return [UpkeepState(*row) for row in cursor.fetchall()]


def _slots_in(mask: int) -> tuple[int, ...]:
    return tuple(slot for slot in range(SLOTS) if mask >> slot & 1)


def _at_rest(shard: ShardState) -> ShardState:
    return replace(shard, events_per_second=0.0)


# ---------------------------------------------------------------------------------------------- the day so far
@dataclass(frozen=True, slots=True)
class Day:
    """What was counted of an organisation since midnight UTC, by the shards' own books (at most ten seconds old)."""

    org_id: str
    events: int
    calls: int
    unpriced: int


def day_counts(*, top: int, day: date | None = None) -> tuple[list[Day], Day]:
    """The organisations with most events of a day (today), and the sums of all of them."""
    today = day or clock.now().date()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT org_id::text, events, calls, unpriced FROM usage_day_tally WHERE day = %s AND model = ''"
            " ORDER BY events DESC, org_id LIMIT %s",
            [today, top],
        )
        rows = [Day(*row) for row in cursor.fetchall()]
        cursor.execute(
            "SELECT coalesce(sum(events), 0)::bigint, coalesce(sum(calls), 0)::bigint,"
            " coalesce(sum(unpriced), 0)::bigint FROM usage_day_tally WHERE day = %s AND model = ''",
            [today],
        )
        return rows, Day("", *cursor.fetchone())


def unpriced_today(*, top: int) -> list[tuple[str, str, int]]:
    """(organisation, model, events) counted today without a price, most first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT org_id::text, model, unpriced FROM usage_day_tally WHERE day = %s AND model <> ''"
            " ORDER BY unpriced DESC, org_id, model LIMIT %s",
            [clock.now().date(), top],
        )
        return list(cursor.fetchall())


# ---------------------------------------------------------------------------------------------- partitions
_PARTITIONED = "usage\\_%"


def partition_counts() -> list[tuple[str, int, str, str, int]]:
    """Each partitioned table of ours: (name, partitions, the first, the last, bytes of all)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p.relname, count(*), min(c.relname) FILTER (WHERE c.relname NOT LIKE '%%default'),"
            " max(c.relname) FILTER (WHERE c.relname NOT LIKE '%%default'), sum(pg_total_relation_size(c.oid))::bigint"
            " FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE p.relkind = 'p' AND p.relname LIKE %s GROUP BY 1 ORDER BY 1",
            [_PARTITIONED],
        )
        return list(cursor.fetchall())


def stray_counts(*, most: int = 1000) -> dict[str, int]:
    """Rows in each default partition, where none should be; counted up to ``most``."""
    found: dict[str, int] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT quote_ident(c.relname) FROM pg_class c WHERE c.relispartition AND c.relname LIKE %s"
            " AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' ORDER BY 1",
            [_PARTITIONED],
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT %s) AS found", [most])  # noqa: S608
            found[table] = cursor.fetchone()[0]
    return found


def orgs_of_slots(slots: Iterable[int]) -> list[UUID]:
    """The organisations that ever counted something and whose events wait in one of these slots."""
    wanted = set(slots)
    with connection.cursor() as cursor:
        cursor.execute("SELECT org_id FROM usage_org")
        return [org_id for (org_id,) in cursor.fetchall() if slot_of(org_id) in wanted]
