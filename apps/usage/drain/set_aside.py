"""Rows of the inbox that cannot be counted: found out, set aside whole, and put back when somebody asks for it.

A row on which the drain ends would be taken first after each start, and nothing behind it would ever count. So a start
that finds the same oldest row as two before it tries what it would take first: as a whole, then by halves
(:mod:`apps.usage.drain.trials`), until the rows are found that fail by themselves.

A row on which PostgreSQL itself ends takes this process along, and everybody's connections. So a trial is noted before
it begins; where one did not end, each row is tried by itself, and one that ended the server twice is set aside.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from django.db import connection, transaction

from apps.audit.services import record
from apps.core import clock
from apps.core.context import bind
from apps.core.contracts import system_actor
from apps.events.services import publish
from apps.usage.drain.flush import InboxItem
from apps.usage.drain.trials import ServerEnded, Trials, Unsettled

__all__ = ["FAILED_STARTS", "find_failing", "forget_marks", "put_back", "starts_in_vain"]

logger = logging.getLogger(__name__)

# After so many starts that did not get beyond their oldest row, rows are tried.
FAILED_STARTS: Final = 2
# A row on which alone PostgreSQL ended so often is set aside.
SERVER_ENDS: Final = 2
# Stands for several rows where a trial is noted.
TOGETHER: Final = 0

_START = """
INSERT INTO usage_drain_start AS known (slot, oldest, starts)
SELECT slot, min(id), 1 FROM usage_inbox WHERE slot = ANY(%s) GROUP BY slot
ON CONFLICT (slot) DO UPDATE SET oldest = EXCLUDED.oldest,
    starts = CASE WHEN known.oldest = EXCLUDED.oldest THEN known.starts + 1 ELSE 1 END
RETURNING starts
"""
_MARK = """
INSERT INTO usage_drain_trial AS t (slot, batch, begun) VALUES (%s, %s, 1)
ON CONFLICT (slot, batch) DO UPDATE SET begun = t.begun + 1
"""
_MOVE = """
WITH gone AS (
    DELETE FROM usage_inbox WHERE slot = %s AND id = %s RETURNING id, slot, org_id, received_at, events, frames
)
INSERT INTO usage_set_aside (id, slot, org_id, received_at, events, frames, reason, set_aside_at)
SELECT id, slot, org_id, received_at, events, frames, %s, %s FROM gone
"""
_BACK = """
WITH gone AS (
    DELETE FROM usage_set_aside WHERE id = ANY(%s) RETURNING id, slot, org_id, received_at, events, frames
), back AS (
    INSERT INTO usage_inbox (slot, org_id, received_at, events, frames)
    SELECT slot, org_id, received_at, events, frames FROM gone ORDER BY id
)
SELECT id, org_id, events FROM gone ORDER BY id
"""


def starts_in_vain(slots: Sequence[int]) -> int:
    """Note a start of the drain of these slots; returns how many before it got no further than its oldest row."""
    with connection.cursor() as cursor:
        cursor.execute(_START, [list(slots)])
        return max((starts for (starts,) in cursor.fetchall()), default=1) - 1


@dataclass(slots=True)
class _Found:
    """What trials found: rows that fail by themselves with their reasons, and groups that pass, in their order."""

    failing: list[tuple[InboxItem, str]] = field(default_factory=list)
    passing: list[list[InboxItem]] = field(default_factory=list)


def find_failing(take: Callable[[], list[InboxItem]], slots: Sequence[int]) -> list[list[InboxItem]]:
    """Set aside those of the oldest rows that fail by themselves, until what ``take`` gives passes.

    Returns the groups of rows that pass, where they do not all together: they are to be counted group by group. Where
    the database is away, or even the plainest row fails, nothing is set aside. Raises ServerEnded where PostgreSQL
    ends on a trial, which is noted before: the next start knows of it, whoever survives.
    """
    with Trials() as trials:
        try:
            if ended := _marked(slots):
                return _one_by_one(take(), trials, ended, slots)
            while items := take():
                with _noted(slots[0], TOGETHER):
                    reason = trials.reason(items)
                if reason is None:
                    logger.info("the oldest %d rows of the inbox can be counted", len(items))
                    return []
                if not _plain_passes(trials):
                    return []
                found = _Found()
                _halve(items, trials, found)
                for item, why in found.failing:
                    _set_aside(item, why)
                if not found.failing:
                    return found.passing
        except Unsettled as error:
            logger.warning("rows of the inbox could not be tried: %s", error)
    return []


def _plain_passes(trials: Trials) -> bool:
    try:
        reason = trials.reason_of_plain()
    except ServerEnded as error:
        reason = str(error)
    if reason is not None:
        logger.error("the drain cannot count even the plainest event: %s", reason)
    return reason is None


def _one_by_one(
    items: list[InboxItem], trials: Trials, ended: dict[int, int], slots: Sequence[int]
) -> list[list[InboxItem]]:
    """Try each row by itself, those first on which PostgreSQL ended: each end takes everybody's connections."""
    if not _plain_passes(trials):
        return []
    passing: list[list[InboxItem]] = []
    for item in sorted(items, key=lambda item: -ended.get(item.id, 0)):
        times = ended.get(item.id, 0)
        if times >= SERVER_ENDS:
            _set_aside(item, f"PostgreSQL ended each of the {times} times that it was tried by itself")
            continue
        with _noted(item.slot, item.id):
            reason = trials.reason([item])
        if reason is None:
            passing.append([item])
        else:
            _set_aside(item, reason)
    forget_marks(slots)
    return sorted(passing, key=lambda group: group[0].id)


@contextmanager
def _noted(slot: int, batch: int) -> Iterator[None]:
    """Note a trial for as long as it takes, on the disk: where PostgreSQL ends on it, the note stays."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = on")
        cursor.execute(_MARK, [slot, batch])
    try:
        yield
    except ServerEnded:
        logger.error("PostgreSQL ended on a trial of %s", f"row {batch} of the inbox" if batch else "rows of the inbox")
        raise
    except Unsettled:
        _unmark(slot, batch)
        raise
    _unmark(slot, batch)


def _unmark(slot: int, batch: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_drain_trial WHERE slot = %s AND batch = %s", [slot, batch])


def _marked(slots: Sequence[int]) -> dict[int, int]:
    """How often trials of rows of these slots began and did not end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT batch, begun FROM usage_drain_trial WHERE slot = ANY(%s)", [list(slots)])
        return dict(cursor.fetchall())


def forget_marks(slots: Sequence[int]) -> None:
    """What was noted of trials in these slots is over."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_drain_trial WHERE slot = ANY(%s)", [list(slots)])


def _halve(items: list[InboxItem], trials: Trials, found: _Found) -> None:
    """Sort out ``items``, which fail together."""
    middle = len(items) // 2
    for part in (items[:middle], items[middle:]):
        if not part:
            continue
        reason = trials.reason(part)
        if reason is None:
            found.passing.append(part)
        elif len(part) == 1:
            found.failing.append((part[0], reason))
        else:
            _halve(part, trials, found)


def _set_aside(item: InboxItem, reason: str) -> None:
    moment = clock.now()
    data = {"batch": item.id, "org_id": str(item.org_id), "events": item.events, "reason": reason}
    with bind(actor=system_actor("drain")), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_MOVE, [item.slot, item.id, reason, moment])
            if cursor.rowcount != 1:
                raise RuntimeError("an inbox row was taken by another process")
        publish(
            type="usage.batch_set_aside", data={**data, "received_at": item.received_at}, org_id=None, key="usage.drain"
        )
        record(
            action="usage.batch_set_aside", org_id=None, target_type="batch", target_id=str(item.id),
            target_label=f"{item.events} events", after={**data, "received_at": item.received_at.isoformat()},
        )  # fmt: skip
    logger.error(
        "row %d of the inbox, %d events of organisation %s, was set aside: %s",
        item.id, item.events, item.org_id, reason,
    )  # fmt: skip


# ---------------------------------------------------------------------------------------------- for staff
def put_back(*, ids: Sequence[int]) -> int:
    """Have batches counted that were set aside; returns how many there were."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_BACK, [list(ids)])
            rows = cursor.fetchall()
        for number, org_id, events in rows:
            record(
                action="usage.batch_put_back", org_id=None, target_type="batch", target_id=str(number),
                target_label=f"{events} events", after={"org_id": str(org_id), "events": events},
            )  # fmt: skip
    return len(rows)
