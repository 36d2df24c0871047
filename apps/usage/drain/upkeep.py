"""Work beside the counting: what fails there stays there.

Folding, merging, announcing and making partitions may fail again and again on one row that nobody foresaw. Counting
must not end with them: a failure is told once, the work is tried again after growing pauses, and where it is found out
on what it fails, that is left out and the rest goes on. Each piece of such work is one transaction, so that a failure
leaves nothing half done; what memory knows of it changes after its commit.

What does end the process is a :class:`~apps.usage.drain.runs.MissingSegmentError`: two processes then work on the same
slots, and nothing that is remembered can be trusted.
"""

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from time import monotonic
from typing import Any, Final, Generic, TypeVar

import psycopg
from django.db import connection

from apps.core import clock
from apps.usage.drain.runs import MissingSegmentError

__all__ = ["LeftOut", "PartlyDone", "Upkeep", "apart", "is_the_servers", "named"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

# Failures in a row from which on one is told: a deadlock or a timeout passes by itself.
TOLD_AFTER: Final = 3
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 300.0
# What is left out is tried again after so long, then after twice that, and so on.
_FIRST_REST, _LONGEST_REST = 60.0, 3600.0
_MOST_LEFT_OUT: Final = 10_000
# Where more fail each by itself, it is not for what they are.
_MOST_FAILING: Final = 100
_MOST_REASON: Final = 1000
# Classes of SQLSTATE that tell of the server's state, not of what was sent: connection, rollback, resources, locks,
# an operator, the system. 54 (limits of an index, of a row) is what was sent.
_SERVER: Final = ("08", "25", "40", "53", "55", "57", "58")

_FAILS = """
INSERT INTO usage_upkeep (shard, work, since, reason) VALUES (%s, %s, %s, %s)
ON CONFLICT (shard, work) DO UPDATE SET reason = EXCLUDED.reason,
    since = CASE WHEN usage_upkeep.ended_at IS NULL THEN usage_upkeep.since ELSE EXCLUDED.since END, ended_at = NULL
"""
# What nobody was told of need not be told as over.
_OVER = """
WITH over AS (UPDATE usage_upkeep SET ended_at = %(now)s
    WHERE shard = %(shard)s AND work = %(work)s AND told_at IS NOT NULL)
DELETE FROM usage_upkeep WHERE shard = %(shard)s AND work = %(work)s AND told_at IS NULL
"""


class PartlyDone(Exception):
    """The work is done but for what it fails on, which is left out for a while; the text says what and why."""


class _Work:
    """One kind of work: how often it failed in a row, when it is tried again, what was written of it."""

    __slots__ = ("due", "failures", "logged", "written")

    def __init__(self) -> None:
        self.failures = 0
        self.due = 0.0
        self.logged = self.written = ""


class Upkeep:
    """The work beside the counting of one shard; each kind of work is done by one thread."""

    def __init__(self, shard: int, shards: int) -> None:
        self._shard = shard
        self._shards = shards
        self._works: dict[str, _Work] = {}

    def begin(self) -> None:
        """Read what failed before this start, which is over once it succeeds; forget shards that are no more."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM usage_upkeep WHERE shard >= %s AND told_at IS NULL", [self._shards])
            cursor.execute("UPDATE usage_upkeep SET ended_at = now() WHERE shard >= %s", [self._shards])
            cursor.execute("SELECT work, reason FROM usage_upkeep WHERE shard = %s AND ended_at IS NULL", [self._shard])
            for work, reason in cursor.fetchall():
                self._works.setdefault(work, _Work()).written = reason

    def attempt(self, name: str, work: Callable[[], T], otherwise: T) -> T:
        """Do ``work`` unless it failed a moment ago; returns what it does, ``otherwise`` where it fails or waits."""
        state = self._works.setdefault(name, _Work())
        if monotonic() < state.due:
            return otherwise
        try:
            done = work()
        except MissingSegmentError:
            raise
        except PartlyDone as error:
            state.failures, state.due = 0, 0.0
            self._fails(name, state, str(error), told=True)
            return otherwise
        except Exception as error:
            _leave_usable()
            state.failures += 1
            state.due = monotonic() + min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (state.failures - 1))
            self._fails(name, state, named(error), told=state.failures >= TOLD_AFTER, error=error)
            return otherwise
        if state.failures or state.logged or state.written:
            self._is_well(name, state)
        return done

    def _fails(self, name: str, state: _Work, reason: str, *, told: bool, error: Exception | None = None) -> None:
        if reason != state.logged:
            state.logged = reason
            logger.error("%s of shard %d of the drain fails: %s", name, self._shard, reason, exc_info=error)
        if told and reason != state.written and self._write(_FAILS, [self._shard, name, clock.now(), reason]):
            state.written = reason

    def _is_well(self, name: str, state: _Work) -> None:
        if state.logged or state.written:
            logger.warning("%s of shard %d of the drain succeeds again", name, self._shard)
        state.failures, state.due, state.logged = 0, 0.0, ""
        values = {"shard": self._shard, "work": name, "now": clock.now()}
        if not state.written or self._write(_OVER, values):
            state.written = ""

    def _write(self, sql: str, values: list[Any] | dict[str, Any]) -> bool:
        """Say it to those who look; whether that could be done. It is said again with the next failure or success."""
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
        except Exception as error:
            _leave_usable()
            logger.warning("how the work beside the counting is could not be written: %s", error)
            return False
        return True


def _leave_usable() -> None:
    """A connection that was lost is opened anew with the next statement."""
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()


class LeftOut(Generic[K]):
    """On what a work fails: left out for a minute, then for two, up to an hour, and why. For one thread."""

    def __init__(self) -> None:
        # Until when, how long that was, and why.
        self._known: dict[K, tuple[float, float, str]] = {}

    def now(self) -> list[K]:
        """What is to be left out now."""
        moment = monotonic()
        return [key for key, (until, _, _) in self._known.items() if until > moment]

    def is_due(self) -> bool:
        """Whether something that was left out is to be tried again."""
        moment = monotonic()
        return any(until <= moment for until, _, _ in self._known.values())

    def add(self, failing: Mapping[K, str]) -> None:
        """Leave these out from now on; the values are the reasons."""
        for key, reason in failing.items():
            known = self._known.get(key)
            rest = min(_LONGEST_REST, known[1] * 2) if known else _FIRST_REST
            while known is None and len(self._known) >= _MOST_LEFT_OUT:
                del self._known[next(iter(self._known))]
            self._known[key] = (monotonic() + rest, rest, reason)

    def do(self, keys: Sequence[K], work: Callable[[Sequence[K]], object]) -> None:
        """:func:`apart`, and what fails is left out from now on."""
        self.add(apart(keys, work))

    def say(self, kind: str) -> None:
        """Raise :class:`PartlyDone` where something is left out; ``kind`` is what the keys are."""
        left = self.now()
        if not left:
            self._known.clear()
            return
        others = "" if len(left) == 1 else " (and others)"
        raise PartlyDone(f"{kind} {left[0]}{others} is left out: {self._known[left[0]][2]}"[:_MOST_REASON])


def apart(keys: Sequence[K], work: Callable[[Sequence[K]], object]) -> dict[K, str]:
    """Do ``work`` on all of ``keys`` together; where that fails on halves, until those are found that fail alone.

    Returns these with the reasons; all others are done. ``work`` is one transaction, or what may be done once more.
    Raises where it is not for the keys: the database is away or has no room, or very many fail.
    """
    found: dict[K, str] = {}
    if keys:
        _halve(keys, work, found)
    return found


def _halve(keys: Sequence[K], work: Callable[[Sequence[K]], object], found: dict[K, str]) -> None:
    try:
        work(keys)
    except MissingSegmentError:
        raise
    except Exception as error:
        if is_the_servers(error) or len(found) >= _MOST_FAILING:
            raise
        if len(keys) == 1:
            found[keys[0]] = named(error)
            return
    else:
        return
    middle = len(keys) // 2
    _halve(keys[:middle], work, found)
    _halve(keys[middle:], work, found)


def is_the_servers(error: BaseException) -> bool:
    """Whether an error tells of the server's state and nothing of the rows."""
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    if not isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(_SERVER)


def named(error: BaseException) -> str:
    """An error's kind and text, as they may be stored."""
    text = f"{type(error).__name__}: {error}".strip().replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text[:_MOST_REASON]
