"""What each project has in a session that several projects used (decision 0022).

A sender may use one session id under keys of several projects. A session without parts is wholly of the project that
its who names; as soon as another project's events come, it has a part for each project, and these together are the
session. So nothing is written for a session of one project, and what somebody may see of any session is exact.
"""

from typing import Final

__all__ = [
    "MOST_WHOS",
    "NO_PROJECT",
    "PARTS",
    "SUMS",
    "TOO_MANY",
    "added",
    "bounded",
    "fresh_sql",
    "part_sql",
    "spread_sql",
    "whole_sql",
]

# In the place of a project that is not known.
NO_PROJECT: Final = "00000000-0000-0000-0000-000000000000"
# Of a session with more whos than these none are kept, which a delta says with this mark.
MOST_WHOS: Final = 32
TOO_MANY: Final = "*"
SUMS: Final = (
    "events", "calls", "tool_calls", "errors", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_write_tokens", "cost_nano",
)  # fmt: skip
_NAMES: Final = ", ".join(SUMS)
_LISTS: Final = ("session", "session_id", "who", "models", "whos", "started_at", "last_at", *SUMS)
_COALESCED: Final = ", ".join(f"coalesce({name}, 0) AS {name}" for name in SUMS)
_SPREAD: Final = f"org, session, session_id, who, models, coalesce(whos, '') AS whos, started_at, last_at, {_COALESCED}"
_COUNTS: Final = SUMS[:4]


def bounded(sum_sql: str, name: str) -> str:
    """A sum that its column holds: 2.1 billion events, 9.2 billion USD. What is more is cut there."""
    kind, most = ("integer", 2**31 - 1) if name in _COUNTS else ("bigint", 2**63 - 1)
    return f"least({most}, greatest(-{most}, {sum_sql}))::{kind}"


def added(table: str) -> str:
    """The sums of a row of ``table`` and of the one that comes to it, for ``ON CONFLICT DO UPDATE``."""
    return ", ".join(f"{name} = {bounded(f'{table}.{name}::numeric + EXCLUDED.{name}', name)}" for name in SUMS)


_ADDED: Final = ", ".join(f"{bounded(f'sum({name})', name)} AS {name}" for name in SUMS)
_MORE: Final = added("p")

# The end of folding: ``gone`` are the deltas, ``merged`` the sessions that they were added to. What the statement reads
# of tables is as it was before it. Mostly none is of several projects: then nothing of it is run, since what asks for
# any stands by itself; and the few are looked up one by one, which OFFSET 0 tells the planner.
PARTS: Final = f"""
several AS (
    SELECT m.org, m.id, k.known FROM merged m CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM usage_session_part p WHERE p.org = m.org AND p.session = m.id) AS known OFFSET 0) k
    WHERE m.mixed > 0
), news AS (
    SELECT g.org, g.session, coalesce(w.project_id, '{NO_PROJECT}') AS project, g.who,
        string_to_array(g.models, chr(31)) AS models, g.started_at, g.last_at,
        {", ".join(f"g.{name}" for name in SUMS)}, v.known
    FROM several v JOIN gone g ON g.org = v.org AND g.session = v.id
        CROSS JOIN LATERAL (SELECT project_id FROM usage_who WHERE id = g.who OFFSET 0) w
    WHERE (SELECT EXISTS (SELECT FROM several))
), olds AS (
    SELECT s.org, s.id, coalesce(w.project_id, '{NO_PROJECT}'), s.who, s.models, s.started_at, s.last_at,
        {", ".join(f"s.{name}" for name in SUMS)}, v.known
    FROM several v
        CROSS JOIN LATERAL (SELECT * FROM usage_session WHERE org = v.org AND id = v.id OFFSET 0) s
        CROSS JOIN LATERAL (SELECT project_id FROM usage_who WHERE id = s.who OFFSET 0) w
    WHERE (SELECT EXISTS (SELECT FROM several)) AND NOT v.known
), pieces AS (
    SELECT * FROM news UNION ALL SELECT * FROM olds
), apart AS (
    SELECT org, session FROM pieces GROUP BY org, session
    HAVING bool_or(known) OR min(project::text) <> max(project::text)
), parts AS (
    INSERT INTO usage_session_part AS p (org, session, project, who, models, started_at, last_at, {_NAMES})
    SELECT org, session, project, (array_agg(who ORDER BY started_at))[1],
        array_remove(string_to_array(string_agg(array_to_string(models, chr(31)), chr(31)), chr(31)), ''),
        min(started_at), max(last_at), {_ADDED}
    FROM pieces JOIN apart USING (org, session) GROUP BY org, session, project
    ON CONFLICT (org, session, project) DO UPDATE SET
        who = CASE WHEN EXCLUDED.started_at < p.started_at THEN EXCLUDED.who ELSE p.who END,
        models = ARRAY(SELECT DISTINCT m FROM unnest(p.models || EXCLUDED.models) AS m ORDER BY m),
        started_at = least(p.started_at, EXCLUDED.started_at), last_at = greatest(p.last_at, EXCLUDED.last_at),
        {_MORE}
)
"""  # noqa: S608 - our own parts


_MINE: Final = "who IN (SELECT id FROM usage_who WHERE org = %(org)s AND project_id = ANY(%(projects)s::uuid[]))"
_COLUMNS: Final = ("who", "models", "started_at", "last_at", *SUMS)


def whole_sql(*, narrowed: bool) -> str:
    """One organisation's folded sessions: ``id, session_id, who, models, started_at, last_at`` and the sums.

    Parameter ``%(org)s``. ``narrowed``: those that are wholly of one of ``%(projects)s`` (ids).
    """
    mine = (
        f" AND {_MINE} AND (mixed = 0 OR NOT EXISTS (SELECT FROM usage_session_part p"
        " WHERE p.org = s.org AND p.session = s.id))"
    )
    return (
        f"SELECT id, session_id, {', '.join(_COLUMNS)} FROM usage_session s"  # noqa: S608
        f" WHERE org = %(org)s{mine if narrowed else ''}"
    )


def part_sql() -> str:
    """The same of the parts that ``%(projects)s`` have in sessions of several projects, a row for each part."""
    return (
        f"SELECT s.id, s.session_id, {', '.join(f'p.{name}' for name in _COLUMNS)} FROM usage_session_part p"  # noqa: S608
        " JOIN usage_session s ON s.org = p.org AND s.id = p.session"
        " WHERE p.org = %(org)s AND p.project = ANY(%(projects)s::uuid[])"
    )


def spread_sql(packs: str) -> str:
    """A row for each delta of ``packs`` (SQL: rows of ``usage_session_delta_pack``).

    ``models`` are texts as they are in packs, with ``chr(31)`` between them; ``whos`` is "" where there is none but
    ``who``, :data:`TOO_MANY`, or numbers with commas.
    """
    lists = ", ".join(f"unnest({name}) AS {name}" for name in _LISTS)
    return f"SELECT {_SPREAD} FROM (SELECT org, {lists} FROM {packs}) AS spread"  # noqa: S608 - our own parts


def fresh_sql(*, narrowed: bool, one: bool = False) -> str:
    """The same of what is not folded yet, a row for each delta. ``one``: of the session ``%(number)s`` alone."""
    deltas = spread_sql("usage_session_delta_pack WHERE org = %(org)s")
    if one:
        lists = ", ".join(f"p.{name}[n] AS {name}" for name in _LISTS)
        deltas = (
            f"SELECT {_SPREAD} FROM (SELECT p.org, {lists} FROM usage_session_delta_pack p,"  # noqa: S608
            " unnest(array_positions(p.session, %(number)s::bigint)) AS n WHERE p.org = %(org)s) AS spread"
        )
    return (
        f"SELECT session AS id, session_id, who, string_to_array(models, chr(31)) AS models, started_at, last_at,"  # noqa: S608
        f" {_NAMES} FROM ({deltas}) AS d{' WHERE ' + _MINE if narrowed else ''}"
    )
