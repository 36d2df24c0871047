"""From the outbox to the transport.

What makes this lose nothing although transactions commit in another order than they took their numbers: the relay does
not remember how far it got, it asks which rows are not marked yet. A row with a low number whose transaction commits
late is simply found by a later look.

Path not taken: a cursor over the numbers, held back to the oldest running transaction (``pg_snapshot_xmin``). It
saves the mark, but then one long transaction anywhere on the server stops the whole bus.

Order: events of one key are relayed in the order of their numbers among those that are visible. An event that depends
on another one of its key was published after that one committed, or was waiting for its locks, and so has the higher
number and comes later. One relay works at a time, else two batches could overtake each other.
"""

from django.db import connection, transaction

from apps.events.metrics import RELAYED
from apps.events.transports import Outgoing, get_transport

__all__ = ["BATCH", "relay"]

BATCH = 1000


def relay(limit: int = BATCH) -> int:
    """Hand the oldest unmarked events to the transport and mark them, in one transaction; returns how many.

    Zero as well where another dispatcher is at it.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtextextended('bus:relay', 0))")
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(
            "SELECT seq, published_at, event_id, type, topic, key, envelope::text FROM events_outbox"
            " WHERE NOT relayed ORDER BY seq LIMIT %s",
            [limit],
        )
        rows = cursor.fetchall()
        if not rows:
            return 0
        get_transport().send([Outgoing(*row[2:]) for row in rows])
        published = [row[1] for row in rows]
        # The bounds in time are for the planner: it looks into the partitions of these days only.
        cursor.execute(
            "UPDATE events_outbox SET relayed = true"
            " WHERE seq = ANY(%s) AND published_at >= %s AND published_at <= %s AND NOT relayed",
            [[row[0] for row in rows], min(published), max(published)],
        )
    RELAYED.inc(len(rows))
    return len(rows)
