"""The last uses of keys: gathered and written together, by nobody who waits.

With many organisations nearly each request is the first of its key in a minute, and a commit for each cost as much as
taking its events in.
"""

import threading
from datetime import datetime
from uuid import UUID

import psycopg
from django.db import InterfaceError, OperationalError, connection

from apps.core.clock import now
from apps.core.meanwhile import meanwhile

__all__ = ["note_use"]

# Seconds in which uses gather before they are written.
_GATHER = 0.3
# Rows that somebody holds (another process that writes their use, a change of the key) are left to the next minute.
_WRITE = (
    "UPDATE projects_apikey k SET last_used_at = u.at, last_used_ip = u.ip::inet, last_used_agent = u.agent"
    " FROM unnest(%s::uuid[], %s::timestamptz[], %s::text[], %s::text[]) AS u (id, at, ip, agent)"
    " WHERE k.id = u.id AND k.id IN (SELECT id FROM projects_apikey WHERE id = ANY(%s::uuid[]) AND (last_used_at"
    " IS NULL OR last_used_at <= %s - make_interval(secs => %s)) FOR NO KEY UPDATE SKIP LOCKED)"
)

_Use = tuple[datetime, str | None, str]
_due: dict[UUID, _Use] = {}
_lock = threading.Lock()


def note_use(key_id: UUID, ip: str | None, user_agent: str, *, every: float) -> None:
    """Write the last use of a key soon, unless another process did so in the last ``every`` seconds.

    Inside a transaction it is written at once.
    """
    use = (now(), ip, user_agent.replace("\0", "")[:300])
    if connection.in_atomic_block:
        _write({key_id: use}, every)
        return
    with _lock:
        _due[key_id] = use
    meanwhile("uses of keys", lambda: _write_due(every), after=_GATHER)


def _write_due(every: float) -> None:
    with _lock:
        uses = dict(_due)
        _due.clear()
    try:
        _write(uses, every)
    except (OperationalError, InterfaceError):
        # The database is away: they go with the next. Whatever else is wrong would be wrong again, and for all of them.
        with _lock:
            for key_id, use in uses.items():
                _due.setdefault(key_id, use)
        raise


def _write(uses: dict[UUID, _Use], every: float) -> None:
    if not uses:
        return
    ids = list(uses)
    columns = map(list, zip(*uses.values(), strict=True))
    connection.ensure_connection()
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_WRITE, [ids, *columns, ids, now(), every], prepare=True)
