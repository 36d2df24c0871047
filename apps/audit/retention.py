"""How long the trail is kept: all of it in whole months by the system's time, an organisation's for less if it says so.

What goes, goes behind a ``close`` checkpoint, signed and committed before, from which the chain verifies from then on.
The database lets nobody delete otherwise: see the migration ``0006_retention_of_an_organisation``. Front door:
:mod:`apps.audit.services`.
"""

import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from apps.audit.chain import write_checkpoint
from apps.audit.models import AuditRetention
from apps.core.clock import now
from apps.core.errors import ValidationFailed
from apps.core.partitions import drop_partitions, list_partitions
from apps.core.tenancy import org_scope, system_scope

__all__ = ["drop_before", "least_days", "let_go", "most_days", "set_retention"]

BATCH = 2000
# The database goes by its own clock.
_MARGIN = timedelta(hours=1)


def least_days() -> int:
    """The shortest time for which an organisation may keep its log."""
    least: int = settings.AUDIT_RETENTION_LEAST_DAYS
    return min(least, most_days())


def most_days() -> int:
    """The longest: the system's own, by which whole months go."""
    most: int = settings.AUDIT_RETENTION_DAYS
    return most


@transaction.atomic
def set_retention(*, org_id: UUID, days: int | None) -> int:
    """Keep an organisation's log for so many days; None: for as long as the system does. Returns what holds now.

    :class:`ValidationFailed` for fewer than the least and more than the system's own. What is over by then goes in the
    night, for good.
    """
    if days is not None and not least_days() <= days <= most_days():
        detail = f"from {least_days()} to {most_days()} days"
        raise ValidationFailed("The log cannot be kept so long", errors=[{"pointer": "/days", "detail": detail}])
    with org_scope(org_id):
        before = AuditRetention.objects.select_for_update().filter(org_id=org_id).first()
        was = before.days if before else None
        if days is None:
            AuditRetention.objects.filter(org_id=org_id).delete()
        else:
            AuditRetention.objects.update_or_create(org_id=org_id, defaults={"days": days})
        if was != days:
            _record(org_id, was, days)
    return days or most_days()


def _record_deletion(org_id: UUID, gone: int, end: int) -> None:
    from apps.audit import services

    with transaction.atomic():
        services.record(
            action="audit.entries_deleted", org_id=org_id, target_type="audit_log", target_id=org_id,
            target_label="Audit log", after={"entries": gone, "up_to_position": end},
        )  # fmt: skip


def _record(org_id: UUID, was: int | None, days: int | None) -> None:
    from apps.audit import services

    services.record(
        action="audit.retention_changed", org_id=org_id, target_type="audit_log", target_id=org_id,
        target_label="Audit log", before={"days": was or most_days()}, after={"days": days or most_days()},
    )  # fmt: skip


# ---------------------------------------------------------------- an organisation's own
def let_go(*, seconds: float = 600.0, batch: int = BATCH) -> dict[str, int]:
    """Delete what organisations keep no longer, for about so long; how many entries of how many organisations."""
    deadline, gone, touched = time.monotonic() + seconds, 0, 0
    with system_scope("each organisation's own retention"):
        kept = list(AuditRetention.objects.order_by("org_id").values_list("org_id", "days"))
    for org_id, days in kept:
        number = _let_go_of(org_id, now() - timedelta(days=days) - _MARGIN, batch, deadline)
        gone, touched = gone + number, touched + bool(number)
        if time.monotonic() >= deadline:
            break
    return {"entries": gone, "organisations": touched}


def _let_go_of(chain_id: UUID, before: datetime, batch: int, deadline: float) -> int:
    end = _close(chain_id, before)
    gone = 0
    while end is not None:
        number = _delete(chain_id, end, batch)
        gone += number
        if number < batch or time.monotonic() >= deadline:
            break
    if gone:
        _record_deletion(chain_id, gone, end or 0)
    return gone


def _close(chain_id: UUID, before: datetime) -> int | None:
    """Sign where the chain stands at the last of the entries that go; its position, None where none goes.

    Places follow transactions and not clocks: what goes ends before the first entry that is to stay.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT min(position) FROM audit_seal WHERE chain_id = %s AND occurred_at >= %s", [chain_id, before]
        )
        first_kept = cursor.fetchone()[0]
        cursor.execute(
            "SELECT position, chain FROM audit_seal WHERE chain_id = %s AND occurred_at < %s"
            " AND (%s::bigint IS NULL OR position < %s) ORDER BY position DESC LIMIT 1",
            [chain_id, before, first_kept, first_kept],
        )
        row = cursor.fetchone()
        if row is None:
            return None
        write_checkpoint(cursor, chain_id, row[0], bytes(row[1]), "close")
    position: int = row[0]
    return position


def _delete(chain_id: UUID, end: int, batch: int) -> int:
    """The oldest places up to ``end`` and their entries, together; how many."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT position, entry_id, occurred_at FROM audit_seal WHERE chain_id = %s AND position <= %s"
            " ORDER BY position LIMIT %s",
            [chain_id, end, batch],
        )
        rows = cursor.fetchall()
        if not rows:
            return 0
        moments = [row[2] for row in rows]
        between: list[Any] = [min(moments), max(moments)]
        cursor.execute(
            "DELETE FROM audit_entry e USING unnest(%s::uuid[], %s::timestamptz[]) AS g(id, at)"
            " WHERE e.id = g.id AND e.occurred_at = g.at AND e.occurred_at BETWEEN %s AND %s",
            [[row[1] for row in rows], moments, *between],
        )
        cursor.execute(
            "DELETE FROM audit_seal WHERE chain_id = %s AND position BETWEEN %s AND %s"
            " AND occurred_at BETWEEN %s AND %s",
            [chain_id, rows[0][0], rows[-1][0], *between],
        )
    return len(rows)


# ---------------------------------------------------------------- the system's
def drop_before(before: datetime) -> list[str]:
    """Sign where each chain stands behind the months that go, then let them go; the names of their partitions.

    The checkpoint is committed first: a death in between leaves a chain that verifies from there, with more behind it
    than need be. A month with entries that are not sealed yet is kept.
    """
    parts = [part for part in list_partitions("audit_entry") if part.end <= before]
    end = max(part.end for part in parts)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT ON (s.chain_id) s.chain_id, s.position, s.chain FROM audit_seal s"
            " WHERE s.occurred_at < %s ORDER BY s.chain_id, s.position DESC",
            [end],
        )
        for chain_id, position, digest in cursor.fetchall():
            write_checkpoint(cursor, chain_id, position, bytes(digest), "close")
    unsealed = "NOT EXISTS (SELECT 1 FROM audit_seal s WHERE s.entry_id = id AND s.occurred_at = {0}.occurred_at)"
    dropped = []
    for part in parts:
        gone = drop_partitions("audit_entry", before=part.end, unless=unsealed.format(part.name))
        dropped += gone
        if part.name in gone:
            dropped += drop_partitions("audit_seal", before=part.end)
    return dropped
