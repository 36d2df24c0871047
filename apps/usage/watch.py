"""The watch over the drain: a shard that is stuck is told of once, and once that it goes on.

The same of work beside the counting that fails (:mod:`apps.usage.drain.upkeep`).
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import connection, transaction

from apps.audit.services import record
from apps.core import clock
from apps.core.health import OK
from apps.events.contracts import NewEvent
from apps.events.services import publish_many
from apps.usage.selectors.engine import NOBODY, EngineState, engine_state

__all__ = ["KEPT_DAYS", "drain_health", "watch_drain"]

# How long the shards' books of a day are kept.
KEPT_DAYS = 7


def watch_drain() -> dict[str, list[int]]:
    """Look at the drain; returns the shards that are told of as stuck, and those that go on again.

    What is seen for the first time is only noted: a drain that has just been started needs a moment before it writes.
    """
    state = engine_state()
    _tell_of_upkeep()
    with transaction.atomic():
        noted = _noted()
        stuck, told, recovered = state.stalled, [], []
        covered = {slot for _, slots, _, _ in noted for slot in slots}
        for shard, slots, seen_at, told_at in noted:
            if not set(slots) & {slot for found in stuck.values() for slot in found}:
                _forget(shard)
                if told_at is not None:
                    recovered.append(shard)
                    _tell_recovered(shard, slots, told_at, state.at)
            elif told_at is None and seen_at < state.at:
                told.append(shard)
                _tell_stalled(shard, slots, state)
        for shard, slots in stuck.items():
            if not set(slots) & covered:
                _note(shard, slots, state.at)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM usage_day_tally WHERE day < %s", [state.at.date() - timedelta(days=KEPT_DAYS)])
    return {"stalled": told, "recovered": recovered}


def _tell_of_upkeep() -> None:
    """Shards write what fails, and that it does so no more; here both are told."""
    moment = clock.now()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE usage_upkeep SET told_at = %s WHERE told_at IS NULL AND ended_at IS NULL"
            " RETURNING shard, work, since, reason",
            [moment],
        )
        for shard, work, since, reason in cursor.fetchall():
            _tell("usage.upkeep_failing", shard, {"shard": shard, "work": work, "since": since, "reason": reason})
        cursor.execute("DELETE FROM usage_upkeep WHERE ended_at IS NOT NULL RETURNING shard, work, since, ended_at")
        for shard, work, since, ended_at in cursor.fetchall():
            seconds = round(max(0.0, (ended_at - since).total_seconds()), 3)
            data = {"shard": shard, "work": work, "since": since, "failed_seconds": seconds}
            _tell("usage.upkeep_recovered", shard, data)


def drain_health() -> str:
    """``ok``, or which shards are stuck: for ``/health/ready``, at once and without the job."""
    state = engine_state()
    words = [
        f"{'no shard for' if shard == NOBODY else f'shard {shard} is stuck, with'} slots {', '.join(map(str, slots))}"
        for shard, slots in sorted(state.stalled.items())
    ]
    return "; ".join([*words, f"{state.events} events wait"]) if words else OK


def _noted() -> list[tuple[int, tuple[int, ...], datetime, datetime | None]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT shard, slots, seen_at, told_at FROM usage_stall ORDER BY shard FOR UPDATE")
        return [
            (shard, tuple(slot for slot in range(32) if mask >> slot & 1), seen_at, told_at)
            for shard, mask, seen_at, told_at in cursor.fetchall()
        ]


def _note(shard: int, slots: tuple[int, ...], moment: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_stall (shard, slots, seen_at) VALUES (%s, %s, %s)"
            " ON CONFLICT (shard) DO UPDATE SET slots = usage_stall.slots | EXCLUDED.slots",
            [shard, sum(1 << slot for slot in slots), moment],
        )


def _forget(shard: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_stall WHERE shard = %s", [shard])


def _tell_stalled(shard: int, slots: tuple[int, ...], state: EngineState) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_stall SET told_at = %s WHERE shard = %s", [clock.now(), shard])
    waiting = [state.slots[slot] for slot in slots]
    flushed = next((each.flushed_at for each in state.shards if each.shard == shard), None)
    data = {
        "shard": None if shard == NOBODY else shard,
        "slots": list(slots),
        "waiting_events": sum(slot.events for slot in waiting),
        "lag_seconds": round(max(slot.lag_seconds(state.at) for slot in waiting), 3),
        "flushed_at": flushed,
    }
    _tell("usage.drain_stalled", shard, data)


def _tell_recovered(shard: int, slots: tuple[int, ...], told_at: datetime, moment: datetime) -> None:
    data = {
        "shard": None if shard == NOBODY else shard,
        "slots": list(slots),
        "stalled_at": told_at,
        "stalled_seconds": round(max(0.0, (moment - told_at).total_seconds()), 3),
    }
    _tell("usage.drain_recovered", shard, data)


def _tell(name: str, shard: int, data: Mapping[str, object]) -> None:
    publish_many([NewEvent(type=name, data=data, org_id=None, key="usage.drain")])
    label = "no shard" if shard == NOBODY else f"shard {shard}"
    after = {key: str(value) if isinstance(value, datetime) else value for key, value in data.items()}
    record(action=name, org_id=None, target_type="shard", target_id=str(shard), target_label=label, after=after)
