"""Tables partitioned by time: partitions made ahead, dropped when their time has passed.

A partition is named after its table and its period (``audit_entry_p202611``, ``events_outbox_p20261123``), bounds are
midnights in UTC. Each table also has a ``…_default`` partition, so that a write never fails for want of one.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction

from apps.core.clock import now

__all__ = ["Partition", "Period", "drop_partitions", "ensure_partitions", "list_partitions", "missing_partitions"]

logger = logging.getLogger(__name__)

Period = Literal["day", "month"]
# Who waits for a lock of a whole table holds up everybody who comes after: rather not now than long.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
# Nobody reads the default partition while its rows move.
_MOVE_TIMEOUT = "SET LOCAL statement_timeout = '10s'"
_SUFFIX = re.compile(r"_p(\d{4})(\d{2})(\d{2})?$")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition; rows from ``start`` up to and without ``end`` (UTC midnights) live in it."""

    name: str
    start: datetime
    end: datetime


def ensure_partitions(
    table: str,
    *,
    period: Period,
    ahead: int,
    first: date | None = None,
    each: Sequence[str] = (),
    adopt: bool = False,
    using: str = DEFAULT_DB_ALIAS,
) -> list[str]:
    """Make the partitions of the current period and of the next ``ahead``; returns the names of new ones.

    ``each`` are statements run for every new partition, with ``{partition}`` for its name. Where the default
    partition already holds rows of a period, they move to the new one if ``adopt``; else they stay there and that
    period gets no partition of its own. One that would have to wait for whoever reads the default partition (a backup
    does, as long as it takes) is left for the next time: it is made well ahead. Safe to call at any time, from several
    processes at once.
    """
    made: list[str] = []
    existing = {partition.name for partition in list_partitions(table, using=using)}
    start = _floor(first or now().astimezone(UTC).date(), period)
    for _ in range(ahead + 1):
        end = _next(start, period)
        name = _name(table, start, period)
        if name not in existing and _create(table, name, start, end, each, adopt, using):
            made.append(name)
        start = end
    return made


def list_partitions(table: str, *, using: str = DEFAULT_DB_ALIAS) -> list[Partition]:
    """The partitions of ``table`` without its default one, oldest first."""
    with connections[using].cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = to_regclass(%s)",
            [table],
        )
        names = [row[0] for row in cursor.fetchall()]
    found = [_parse(name) for name in names if _SUFFIX.search(name)]
    return sorted(found, key=lambda partition: partition.start)


def missing_partitions(table: str, days: Iterable[date], *, using: str = DEFAULT_DB_ALIAS) -> list[date]:
    """Those of ``days`` that have no partition of their own, in order; ``table`` is partitioned by the day."""
    existing = {partition.name for partition in list_partitions(table, using=using)}
    return [day for day in sorted(set(days)) if _name(table, day, "day") not in existing]


def drop_partitions(table: str, *, before: datetime, unless: str = "", using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Drop each partition that ended at or before ``before``; returns their names.

    ``unless`` is a condition: a partition with a row that meets it is kept. One that others are reading
    is left for the next time rather than waited for.
    """
    dropped = []
    for partition in list_partitions(table, using=using):
        if partition.end <= before and _drop(partition.name, unless, using):
            dropped.append(partition.name)
    return dropped


def _drop(name: str, unless: str, using: str) -> bool:
    quoted = connections[using].ops.quote_name(name)
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            cursor.execute(_LOCK_TIMEOUT)
            if unless:
                cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted} WHERE {unless})")  # noqa: S608
                if _scalar(cursor):
                    logger.warning("partition %s is past its time but still has rows that are needed", name)
                    return False
            cursor.execute(f"DROP TABLE IF EXISTS {quoted}")
    except OperationalError as error:
        logger.warning("partition %s could not be dropped now: %s", name, error)
        return False
    return True


def _create(
    table: str, name: str, start: date, end: date, each: Sequence[str], adopt: bool, using: str
) -> bool:  # fmt: skip
    try:
        with transaction.atomic(using=using), connections[using].cursor() as cursor:
            return _created(cursor, table, name, start, end, each, adopt, using)
    except OperationalError as error:
        logger.warning("partition %s could not be made now: %s", name, error)
        return False


def _created(
    cursor: Any, table: str, name: str, start: date, end: date, each: Sequence[str], adopt: bool, using: str
) -> bool:
    quote = connections[using].ops.quote_name
    parent, child, default = quote(table), quote(name), quote(f"{table}_default")
    low, high = f"{start.isoformat()} 00:00:00+00", f"{end.isoformat()} 00:00:00+00"
    # One maker at a time: two would both find the partition missing.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"partitions:{table}"])
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
    if _scalar(cursor):
        return False
    key = _partition_key(cursor, table)
    astray = f"{key} >= '{low}' AND {key} < '{high}'"
    cursor.execute(f"SELECT EXISTS (SELECT 1 FROM {default} WHERE {astray})")  # noqa: S608
    moves = _scalar(cursor)
    if moves and not adopt:
        logger.warning("%s_default holds rows of %s: that period keeps no partition of its own", table, start)
        return False
    # Attaching takes a lesser lock of the parent than creating in place: writes to other partitions go on meanwhile.
    like = f"LIKE {parent} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE"
    cursor.execute(f"CREATE TABLE {child} ({like})")
    cursor.execute(_LOCK_TIMEOUT)
    # What attaching takes at the end, before any work is done in vain.
    cursor.execute(f"LOCK TABLE ONLY {parent} IN SHARE UPDATE EXCLUSIVE MODE")
    cursor.execute(f"LOCK TABLE {default} IN ACCESS EXCLUSIVE MODE")
    if moves:
        cursor.execute(_MOVE_TIMEOUT)
        cursor.execute(
            f"WITH moved AS (DELETE FROM {default} WHERE {astray} RETURNING *)"  # noqa: S608
            f" INSERT INTO {child} SELECT * FROM moved"
        )
        logger.warning("%d rows of %s moved out of %s_default into %s", cursor.rowcount, start, table, name)
    cursor.execute(f"ALTER TABLE {parent} ATTACH PARTITION {child} FOR VALUES FROM ('{low}') TO ('{high}')")
    for statement in each:
        cursor.execute(statement.format(partition=child))
    cursor.execute("SET LOCAL lock_timeout = DEFAULT")
    if moves:
        cursor.execute("SET LOCAL statement_timeout = DEFAULT")
    return True


def _partition_key(cursor: Any, table: str) -> str:
    cursor.execute("SELECT pg_get_partkeydef(to_regclass(%s))", [table])
    definition: str = _scalar(cursor)
    return definition.removeprefix("RANGE (").removesuffix(")")


def _scalar(cursor: Any) -> Any:
    return cursor.fetchone()[0]


def _floor(day: date, period: Period) -> date:
    return day if period == "day" else day.replace(day=1)


def _next(start: date, period: Period) -> date:
    return start + timedelta(days=1) if period == "day" else (start + timedelta(days=32)).replace(day=1)


def _name(table: str, start: date, period: Period) -> str:
    return f"{table}_p{start:%Y%m%d}" if period == "day" else f"{table}_p{start:%Y%m}"


def _parse(name: str) -> Partition:
    match = _SUFFIX.search(name)
    assert match
    year, month, day = int(match[1]), int(match[2]), match[3]
    start = date(year, month, int(day or 1))
    end = _next(start, "day" if day else "month")
    return Partition(name, _midnight(start), _midnight(end))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
