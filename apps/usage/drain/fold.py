"""Folding: deltas of quarter-hours that are over become rows of the rollups, session deltas are added up.

Until its quarter-hour is over a minute stays in the deltas, where what an organisation has many of is tightened to one
row a key (decision 0023). Each step is one statement or one transaction, so that at any moment an event is in the
deltas or in all rollups. Sums are inserted, never updated; `compact` later makes one row of those of a closed bucket.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
from django.db import connection, transaction

from apps.core import clock
from apps.core.partitions import drop_partitions, ensure_partitions
from apps.usage.drain.retention import EACH
from apps.usage.drain.rows import DELTA, MOST_NANO, MOST_SEARCHES, packed
from apps.usage.drain.upkeep import LeftOut
from apps.usage.drain.write import copy_rows
from apps.usage.histogram import ENTRY, compact
from apps.usage.session_parts import MOST_WHOS, PARTS, SUMS, TOO_MANY, added, bounded, spread_sql
from apps.usage.store import MEASURES

__all__ = [
    "DAY_TABLES",
    "FITS",
    "MINUTE_DAYS",
    "compact_days",
    "compact_quarters",
    "fold_all",
    "fold_rollups",
    "fold_sessions",
    "keep_partitions",
    "quarter_of",
    "tighten_deltas",
]

MINUTE_DAYS = 35
# The tables of days, and what each sums by.
DAY_TABLES = {
    "usage_rollup_day": ("who", "what"),
    "usage_rollup_day_what": ("what",),
    "usage_rollup_day_who": ("who", "event_type", "status"),
}
GRACE = timedelta(seconds=10)
# Whoever takes rows out of folded tables and puts others in their place does so alone.
LOCK_ROLLUPS = "SELECT pg_advisory_xact_lock(hashtext('usage-rollups'))"
# Rows that one statement folds: some 100 milliseconds.
BATCH = 20_000
# So many deltas of one organisation and minute are left as they are: 15 minutes of them are read in a few milliseconds.
FEW = 200
# So many session deltas of one organisation are read in a few milliseconds.
FEW_SESSIONS = 1000
# Deltas a key that are worth tightening: it costs two to three times as much as folding them later as they are, so that
# it only pays for whoever reads in the meantime.
MUCH = 4
# Beyond this a histogram that only grew by appending is longer than one that names each bucket once.
_LONG_HISTOGRAM = 4400

_SUMS = ", ".join(f"sum({name})::bigint" for name in MEASURES[:-1])
_MEASURES = ", ".join(MEASURES)
_HIST = "string_agg(latency_hist, ''::bytea)"
# Of packs that are ``gone`` each key, a row. Figures that no sum may hold stay in rows of their own, told apart by
# ``alone``: a key may have several, and whoever reads adds them up.
_DELTAS = f"""
keys AS (
    SELECT minute, org, unnest(who) AS who, unnest(what) AS what,
        {", ".join(f"unnest({name}) AS {name}" for name in MEASURES)}
    FROM gone
), deltas AS MATERIALIZED (
    SELECT minute, org, who, what, {", ".join(f"coalesce({name}, 0) AS {name}" for name in MEASURES[:-1])},
        coalesce(latency_hist, '') AS latency_hist, CASE WHEN cost_nano NOT BETWEEN -{MOST_NANO} AND {MOST_NANO}
        OR reported_nano > {MOST_NANO} OR web_searches > {MOST_SEARCHES} THEN gen_random_uuid() END AS alone
    FROM keys
)"""  # noqa: S608
FITS = (
    "sum(events) < 2::bigint ^ 31 AND sum(web_searches) < 2::bigint ^ 31"
    " AND abs(sum(cost_nano)) < 2::numeric ^ 63 AND sum(reported_nano) < 2::numeric ^ 63"
)

_FOLD = f"""
WITH gone AS (
    DELETE FROM usage_delta_pack WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM (
            SELECT ctid, keys, sum(keys) OVER (ROWS UNBOUNDED PRECEDING) AS upto FROM (
                SELECT ctid, keys FROM usage_delta_pack WHERE org = ANY(%(orgs)s) AND minute < %(before)s
                LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS waiting) AS few
        WHERE upto - keys < %(limit)s))
    RETURNING *
), {_DELTAS}, minutes AS (
    INSERT INTO usage_rollup_minute (bucket, org, who, what, {_MEASURES})
    SELECT minute, org, who, what, {_SUMS}, {_HIST} FROM deltas WHERE minute >= %(oldest)s
    GROUP BY minute, org, who, what, alone
), quarters AS (
    INSERT INTO usage_rollup_quarter (bucket, org, who, what, {_MEASURES})
    SELECT date_bin('15 minutes', minute, '2000-01-01'), org, who, what, {_SUMS}, {_HIST}
    FROM deltas GROUP BY 1, org, who, what, alone
), days (day, org, who, what, alone, {_MEASURES}) AS MATERIALIZED (
    SELECT (minute AT TIME ZONE o.timezone)::date, org, who, what, alone, {_SUMS}, {_HIST}
    FROM deltas JOIN usage_org o ON o.id = deltas.org GROUP BY 1, org, who, what, alone
), whole AS (
    INSERT INTO usage_rollup_day (day, org, who, what, {_MEASURES})
    SELECT day, org, who, what, {_MEASURES} FROM days
), whats AS (
    INSERT INTO usage_rollup_day_what (day, org, what, {_MEASURES})
    SELECT day, org, what, {_SUMS}, {_HIST} FROM days GROUP BY day, org, what, alone
), whos AS (
    INSERT INTO usage_rollup_day_who (day, org, who, event_type, status, {_MEASURES})
    SELECT day, org, who, event_type, status, {_SUMS}, {_HIST}
    FROM days JOIN usage_what t ON t.id = days.what GROUP BY day, org, who, event_type, status, alone
)
SELECT count(*) FROM deltas
"""  # noqa: S608

# Organisation after organisation, and by the index: what is read once more is what a flush lately wrote.
_WAITING = "SELECT org, sum(keys) FROM usage_delta_pack WHERE minute < %s GROUP BY org ORDER BY org"

# A key is in a pack once, but for figures that no sum may hold: few packs have few of any.
_CROWDED = (
    "SELECT org, sum(keys) FROM usage_delta_pack WHERE minute >= %(start)s AND minute < %(end)s"
    " GROUP BY org HAVING sum(keys) > %(least)s AND count(*) >= %(much)s ORDER BY org"
)
_TIGHTEN = f"""
WITH many AS (
    SELECT org, minute FROM usage_delta WHERE org = ANY(%(orgs)s) AND minute >= %(start)s AND minute < %(end)s
    GROUP BY org, minute
    HAVING count(*) > %(least)s AND count(*) >= %(much)s * count(DISTINCT who::bigint << 32 | what)
), gone AS (
    DELETE FROM usage_delta_pack d USING many m WHERE d.org = m.org AND d.minute = m.minute RETURNING d.*
), {_DELTAS}
SELECT count(*), extract(epoch FROM minute)::bigint, org, who, what, {_HIST}, {_SUMS}
FROM deltas GROUP BY minute, org, who, what, alone ORDER BY org, minute
"""  # noqa: S608

# Organisation after organisation here, too: a session is written once, however many of its deltas wait. First those
# whose rows came first: where there is more than time for, none is passed by for ever.
_WAITING_SESSIONS = (
    "SELECT org, sum(sessions) FROM usage_session_delta_pack GROUP BY org HAVING sum(sessions) > %s ORDER BY min(ctid)"
)
_SESSION_SUMS = ", ".join(f"{bounded(f'sum({name})', name)} AS {name}" for name in SUMS)
_FOLD_SESSIONS = f"""
WITH packs AS (
    DELETE FROM usage_session_delta_pack WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM (
            SELECT ctid, sessions, sum(sessions) OVER (ROWS UNBOUNDED PRECEDING) AS upto FROM (
                SELECT ctid, sessions FROM usage_session_delta_pack WHERE org = ANY(%(orgs)s)
                LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS waiting) AS few
        WHERE upto - sessions < %(limit)s))
    RETURNING *
), gone AS MATERIALIZED ({spread_sql("packs")}), sums AS (
    SELECT org, session, min(session_id COLLATE "C") AS session_id, (array_agg(who ORDER BY started_at))[1] AS who,
        CASE WHEN min(models COLLATE "C") = max(models COLLATE "C")
            THEN string_to_array(min(models COLLATE "C"), chr(31))
            ELSE ARRAY(SELECT DISTINCT m FROM unnest(string_to_array(string_agg(models, chr(31)), chr(31))) AS m
            WHERE m <> '' ORDER BY m) END AS models,
        CASE WHEN bool_or(whos = '{TOO_MANY}') THEN NULL WHEN bool_and(whos = '') AND min(who) = max(who)
            THEN ARRAY[min(who)] ELSE (SELECT CASE WHEN count(*) <= %(most)s THEN array_agg(w) END FROM (
            SELECT DISTINCT w FROM unnest(string_to_array(string_agg(CASE whos WHEN '' THEN who::text ELSE whos END,
            ','), ',')::integer[]) AS w) AS all_whos) END AS whos,
        min(started_at) AS started_at, max(last_at) AS last_at, {_SESSION_SUMS},
        (min(who) <> max(who))::integer::smallint AS mixed
    FROM gone GROUP BY org, session
), merged AS (
    INSERT INTO usage_session AS s (id, org, session_id, who, models, started_at, last_at, events, calls, tool_calls,
        errors, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano, mixed, whos)
    SELECT session, org, session_id, who, models, started_at, last_at, events, calls, tool_calls, errors,
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano, mixed, whos
    FROM sums ORDER BY org, session
    ON CONFLICT (org, id) DO UPDATE SET
        who = CASE WHEN EXCLUDED.started_at < s.started_at THEN EXCLUDED.who ELSE s.who END,
        models = CASE WHEN s.models @> EXCLUDED.models THEN s.models
            ELSE ARRAY(SELECT DISTINCT m FROM unnest(s.models || EXCLUDED.models) AS m ORDER BY m) END,
        started_at = least(s.started_at, EXCLUDED.started_at), last_at = greatest(s.last_at, EXCLUDED.last_at),
        {added("s")},
        whos = CASE WHEN s.whos IS NULL OR EXCLUDED.whos IS NULL THEN NULL WHEN s.whos @> EXCLUDED.whos THEN s.whos
            ELSE (SELECT CASE WHEN count(*) <= %(most)s THEN array_agg(w) END FROM (
            SELECT DISTINCT w FROM unnest(s.whos || EXCLUDED.whos) AS w) AS all_whos) END,
        mixed = greatest(s.mixed, EXCLUDED.mixed, (s.who <> EXCLUDED.who)::integer::smallint)
    RETURNING s.org, s.id, s.mixed
), {PARTS}
SELECT count(*) FROM gone
"""  # noqa: S608 - our own parts


def tighten_deltas(
    start: datetime, end: datetime, *, least: int = FEW, much: int = MUCH, limit: int = BATCH,
    stop: Callable[[], bool] = lambda: False, left_out: LeftOut[int] | None = None,
) -> int:  # fmt: skip
    """Make one row of each key's deltas in the minutes of ``[start, end)``; returns how many rows that saved.

    Only where an organisation has more than ``least`` of them in a minute, and ``much`` times as many as keys: few
    rows cost a reader nothing, and where most keys have few of them there is little to gain. Organisations are taken
    together up to ``limit`` rows a statement; after each ``stop`` is asked whether the rest is left for another time.
    Those whose deltas cannot be tightened join ``left_out``, which are not looked at; without it the error is raised.
    """
    when: dict[str, Any] = {"start": start, "end": end, "least": least, "much": much}
    with connection.cursor() as cursor:
        cursor.execute(_CROWDED, when)
        crowded: list[tuple[int, int]] = cursor.fetchall()
    saved = 0

    def tighten(orgs: Sequence[int]) -> None:
        nonlocal saved
        saved += _tighten({**when, "orgs": list(orgs)})

    for orgs, _ in _together(_but(crowded, left_out), limit):
        _do(orgs, tighten, left_out)
        if stop():
            break
    return saved


def _tighten(when: dict[str, Any]) -> int:
    """Histograms are made short here, by numpy: PostgreSQL would look at each entry by itself."""
    with transaction.atomic(), psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_TIGHTEN, when)
        rows = cursor.fetchall()
        if not rows:
            return 0
        copy_rows(cursor, DELTA.copy_sql, _packs(rows))
    return sum(int(row[0]) - 1 for row in rows)


def _packs(rows: list[tuple[Any, ...]]) -> bytes:
    """What :data:`_TIGHTEN` returns, as packs. Raises :class:`ValueError` for a histogram that is none."""
    _, at, org, who, what, histograms, *sums = zip(*rows, strict=True)
    if any(len(histogram) % ENTRY.itemsize for histogram in histograms):
        raise ValueError("a latency histogram is broken off")
    short = [compact(data) if len(data) > _LONG_HISTOGRAM else data for data in histograms]
    ends = np.cumsum([len(data) // ENTRY.itemsize for data in short])
    return packed(
        np.array(at) * 1_000_000, np.array(org), np.array(who), np.array(what),
        {name: np.array(column) for name, column in zip(MEASURES[:-1], sums, strict=True) if any(column)},
        np.frombuffer(b"".join(short), dtype=ENTRY), ends,
    )  # fmt: skip


def fold_rollups(
    *,
    limit: int = BATCH,
    before: datetime | None = None,
    stop: Callable[[], bool] = lambda: False,
    left_out: LeftOut[int] | None = None,
) -> int:
    """Fold the deltas of quarter-hours that ended before ``before``, some ``limit`` a statement; returns how many.

    Organisations are taken whole where they fit, so that each key of theirs becomes one row of the quarter-hour. After
    each statement ``stop`` is asked whether the rest is left for another time. Those that cannot be folded join
    ``left_out``, as with :func:`tighten_deltas`.
    """
    moment = clock.now()
    closed = before or quarter_of(moment - GRACE)
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, [closed])
        waiting: list[tuple[int, int]] = cursor.fetchall()
    when: dict[str, Any] = {"before": closed, "limit": limit, "oldest": moment - timedelta(days=MINUTE_DAYS)}

    def fold(orgs: Sequence[int]) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_FOLD, {"orgs": list(orgs), **when})
            return int(cursor.fetchone()[0])

    return _in_pieces(waiting, fold, limit, stop, left_out)


def _in_pieces(
    waiting: list[tuple[int, int]], fold: Callable[[Sequence[int]], int], limit: int,
    stop: Callable[[], bool], left_out: LeftOut[int] | None,
) -> int:  # fmt: skip
    """Fold what waits, by organisation, some ``limit`` at once; returns how many. ``fold`` says how many it did."""
    folded, stopped = 0, False

    def work(orgs: Sequence[int]) -> None:
        nonlocal folded, stopped
        while not stopped:
            if folded and stop():
                stopped = True
                return
            done = fold(orgs)
            folded += done
            if done < limit:
                return

    for orgs, _ in _together(_but(waiting, left_out), limit):
        _do(orgs, work, left_out)
        if stopped:
            break
    return folded


def _do(orgs: list[int], work: Callable[[Sequence[int]], None], left_out: LeftOut[int] | None) -> None:
    if left_out is None:
        work(orgs)
    else:
        left_out.do(orgs, work)


def _but(counts: list[tuple[int, int]], left_out: LeftOut[int] | None) -> list[tuple[int, int]]:
    """What waits, by organisation, without those that are left out."""
    left = set(left_out.now()) if left_out else set()
    return [(org, count) for org, count in counts if org not in left]


def quarter_of(moment: datetime) -> datetime:
    """The beginning of a moment's quarter of an hour, in UTC."""
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _together(waiting: Iterable[tuple[int, int]], limit: int) -> Iterator[tuple[list[int], int]]:
    """Organisations whose rows are some ``limit`` together, and how many these are."""
    orgs: list[int] = []
    total = 0
    for org, count in waiting:
        if orgs and total + count > limit:
            yield orgs, total
            orgs, total = [], 0
        orgs.append(org)
        total += count
    if orgs:
        yield orgs, total


def fold_sessions(
    *, limit: int = BATCH, least: int = 0, stop: Callable[[], bool] = lambda: False,
    left_out: LeftOut[int] | None = None,
) -> int:  # fmt: skip
    """Add what waits of sessions to them, some ``limit`` deltas a statement; returns how many there were.

    ``least``: of organisations that have more of them only. ``stop`` and ``left_out`` as with :func:`fold_rollups`.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAITING_SESSIONS, [least])
        waiting: list[tuple[int, int]] = cursor.fetchall()

    def fold(orgs: Sequence[int]) -> int:
        with transaction.atomic(), connection.cursor() as cursor:
            # What a session was before tells its first part: nobody else may add to it meanwhile.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('usage-fold-sessions'))")
            cursor.execute(_FOLD_SESSIONS, {"orgs": list(orgs), "limit": limit, "most": MOST_WHOS})
            return int(cursor.fetchone()[0])

    return _in_pieces(waiting, fold, limit, stop, left_out)


def fold_all() -> None:
    """Fold whatever can be folded (commands, tests)."""
    fold_rollups(before=clock.now() + timedelta(days=1))
    fold_sessions()


def compact_quarters() -> int:
    """Make one row of each key's rows in the quarter-hours that ended lately; returns how many rows went."""
    end = clock.now() - timedelta(minutes=15)
    return _compact("usage_rollup_quarter", "bucket", ("who", "what"), end - timedelta(hours=2), end)


def compact_days() -> int:
    """The same for today's and yesterday's rows of the day tables, which get new ones with every fold."""
    today = clock.now().date()
    start, end = today - timedelta(days=2), today + timedelta(days=2)
    return sum(_compact(table, "day", by, start, end) for table, by in DAY_TABLES.items())


def _compact(table: str, column: str, by: Sequence[str], start: date, end: date) -> int:
    """Only keys that have several rows are touched."""
    names = ("org", column, *by)
    key, same = ", ".join(names), " AND ".join(f"t.{name} = s.{name}" for name in names)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK_ROLLUPS)
        cursor.execute(
            f"WITH several AS (SELECT {key} FROM {table} WHERE {column} >= %(start)s AND {column} < %(end)s"  # noqa: S608
            f" GROUP BY {key} HAVING count(*) > 1 AND {FITS}),"
            f" gone AS (DELETE FROM {table} t USING several s WHERE {same} RETURNING t.*),"
            f" back AS (INSERT INTO {table} ({key}, {_MEASURES})"
            f" SELECT {key}, {_SUMS}, CASE WHEN length({_HIST}) > {_LONG_HISTOGRAM}"
            f" THEN usage_hist_compact({_HIST}) ELSE {_HIST} END FROM gone GROUP BY {key} RETURNING 1)"
            " SELECT (SELECT count(*) FROM gone) - (SELECT count(*) FROM back)",
            {"start": start, "end": end},
        )
        return int(cursor.fetchone()[0])


def keep_partitions() -> dict[str, list[str]]:
    """Make the partitions of the coming days and drop those whose time is over; returns their names.

    Rows that lie astray in a default partition move into the one that is made for them.
    """
    today = clock.now()
    made = [
        *ensure_partitions("usage_chunk", period="day", ahead=10, each=EACH, adopt=True),
        *ensure_partitions(
            "usage_rollup_minute",
            period="day",
            ahead=MINUTE_DAYS + 3,
            first=(today - timedelta(days=MINUTE_DAYS)).date(),
            adopt=True,
        ),
    ]
    midnight = today.replace(hour=0, minute=0, second=0, microsecond=0)
    dropped = [
        *drop_partitions("usage_chunk", before=midnight + timedelta(days=1)),
        *drop_partitions("usage_rollup_minute", before=midnight - timedelta(days=MINUTE_DAYS)),
    ]
    with connection.cursor() as cursor:
        # What went astray into a default partition has its time, too.
        cursor.execute("DELETE FROM usage_chunk_default WHERE drop_on <= %s", [today.date()])
        cursor.execute(
            "DELETE FROM usage_rollup_minute_default WHERE bucket < %s", [midnight - timedelta(days=MINUTE_DAYS)]
        )
    return {"made": made, "dropped": dropped}
