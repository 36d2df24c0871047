"""The partitions of raw events, one for each day of dropping: made before events come that need them.

An event's day of dropping is its own day and the retention of its organisation or project (1 to 400 days), so the ones
needed lie apart where retentions differ: only these are made. What lies in the default partition all the same (a
partition could not be made because somebody read the default one for long, as a backup does) moves into its own.
"""

import time
from datetime import date, timedelta

from django.db import connection

from apps.accounts import selectors as accounts
from apps.core import clock
from apps.core.partitions import ensure_partitions, missing_partitions
from apps.core.tenancy import system_scope
from apps.projects import selectors as projects

__all__ = ["EACH", "make_partitions", "make_partitions_ahead"]

TABLE = "usage_chunk"
# What is said of each partition. Where rows only came there is nothing to vacuum for, and what vacuum writes
# acknowledgements wait for: it takes its time.
EACH = (
    "ALTER TABLE {partition} SET"
    " (toast.autovacuum_vacuum_insert_threshold = -1, toast.autovacuum_vacuum_cost_delay = 5)",
)
# For so many days from today on, for each retention that is in use.
AHEAD = 3
_EPOCH = date(1970, 1, 1)
# A partition that could not be made is not asked for with each flush.
_AGAIN_SECONDS = 60.0
_known_days: set[int] = set()
_refused_at: dict[int, float] = {}


def make_partitions(days: list[int]) -> None:
    """Have the partitions of raw events of these days (since 1970) exist, if they can be made at once."""
    moment = time.monotonic()
    for day in days:
        if day in _known_days or moment - _refused_at.get(day, -_AGAIN_SECONDS) < _AGAIN_SECONDS:
            continue
        if _make([_EPOCH + timedelta(days=day)]):
            _refused_at[day] = moment
        else:
            _known_days.add(day)
            _refused_at.pop(day, None)


def make_partitions_ahead() -> dict[str, list[str]]:
    """Have those exist that events of the coming days need, and of the days of which rows lie in the default one.

    Returns the days that could not be made now.
    """
    today = clock.now().date()
    with system_scope("partitions are made for every retention that is in use"):
        retentions = accounts.raw_retentions() | projects.raw_retentions()
    wanted = {today + timedelta(days=days + 1 + ahead) for days in retentions for ahead in range(AHEAD + 1)}
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT drop_on FROM usage_chunk_default WHERE drop_on > %s", [today])
        wanted |= {row[0] for row in cursor.fetchall()}
    return {"refused": [day.isoformat() for day in _make(sorted(wanted))]}


def _make(days: list[date]) -> list[date]:
    """Those of the days whose partition could not be made."""
    for day in missing_partitions(TABLE, days):
        ensure_partitions(TABLE, period="day", ahead=0, first=day, each=EACH, adopt=True)
    return missing_partitions(TABLE, days)
