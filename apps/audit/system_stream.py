"""All organisations' entries, and those of none, sent to whoever runs this installation: their SIEM.

Set in the environment (``AUDIT_STREAM_URL``) and seen in the staff admin; nobody inside an organisation knows of it. It
takes what an organisation's own stream takes and sends it alike, in the order in which entries were sealed, at least
once. It is never given up: what fails is tried again, an hour apart at most, and its lag is a metric.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from apps.audit.export import Exported, exported
from apps.audit.models import SystemStream
from apps.audit.streams import BATCHES, TOGETHER, StreamFailed, send_batch
from apps.core.backoff import backoff
from apps.core.clock import now
from apps.core.http import HTTPError, OutboundRefused
from apps.core.tenancy import system_scope

__all__ = ["deliver_to_operator", "operator_lag"]

logger = logging.getLogger(__name__)

_FIRST, _LONGEST = timedelta(seconds=5), timedelta(hours=1)
_LOCK = "audit.system_stream"
# What is sealed and comes behind the cursor, in the order of sealing. A cursor from before a restore into another
# server may be ahead of all numbers that one has given: then what it has comes, rather twice than not at all.
_BEHIND = (
    "FROM audit_entry e, audit_sealer c, audit_systemstream s WHERE s.id = 1"
    " AND (e.xid, e.seq) > (CASE WHEN s.xid::text::xid8 > c.xid THEN '0'::xid8 ELSE s.xid::text::xid8 END, s.seq)"
    " AND (e.xid, e.seq) <= (c.xid, c.seq)"
)


@dataclass(frozen=True, slots=True)
class _Receiver:
    """What sending asks of a stream."""

    pk: str
    url: str
    format: str
    secret: str
    ca_pem: str
    former_secret: str | None = None
    former_until: datetime | None = None


def deliver_to_operator() -> int:
    """Send what waits, if a receiver is set and is due; returns how many entries were confirmed."""
    if not settings.AUDIT_STREAM_URL:
        return 0
    with system_scope("whoever runs the installation reads every organisation's trail"), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        try:
            return _drain()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", [_LOCK])


def _drain() -> int:
    state = _state()
    if state.retry_at is not None and state.retry_at > now():
        return 0
    receiver, sent = _receiver(), 0
    for _ in range(BATCHES):
        batch, place = _next()
        if place is None:
            break
        try:
            send_batch(receiver, batch, name=f"{batch[0].id}.{len(batch)}")
        except (StreamFailed, OutboundRefused, HTTPError, OSError) as error:
            _failed(state, str(error) or type(error).__name__)
            break
        sent += len(batch)
        _save(xid=place[0], seq=place[1], attempts=0, failing_since=None, retry_at=None, last_error="", sent_at=now())
    return sent


def _state() -> SystemStream:
    """Where it stands; at first use: at what is sealed by now."""
    found = SystemStream.objects.filter(pk=1).first()
    if found is not None:
        return found
    with connection.cursor() as cursor:
        cursor.execute("SELECT xid::text::bigint, seq FROM audit_sealer")
        xid, seq = cursor.fetchone()
    SystemStream.objects.bulk_create([SystemStream(pk=1, xid=xid, seq=seq)], ignore_conflicts=True)
    return SystemStream.objects.get(pk=1)


def _receiver() -> _Receiver:
    return _Receiver(
        "system", settings.AUDIT_STREAM_URL, settings.AUDIT_STREAM_FORMAT, settings.AUDIT_STREAM_SECRET,
        settings.AUDIT_STREAM_CA,
    )  # fmt: skip


def _next() -> tuple[Sequence[Exported], tuple[int, int] | None]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT e.id, e.occurred_at, e.xid::text::bigint, e.seq {_BEHIND} ORDER BY e.xid, e.seq LIMIT %s",
            [TOGETHER],
        )
        rows = cursor.fetchall()
    if not rows:
        return [], None
    return exported([(row[0], row[1]) for row in rows]), (rows[-1][2], rows[-1][3])


def _failed(state: SystemStream, error: str) -> None:
    moment = now()
    wait = backoff(state.attempts + 1, first=_FIRST, longest=_LONGEST)
    _save(
        attempts=state.attempts + 1, failing_since=state.failing_since or moment, retry_at=moment + wait,
        last_error=error[:500],
    )  # fmt: skip
    logger.warning("audit_system_stream_failed", extra={"error": error})


def _save(**fields: Any) -> None:
    SystemStream.objects.filter(pk=1).update(**fields)


def operator_lag() -> int:
    """How many sealed entries wait for the receiver, counted to 10,000; 0 where none is set."""
    if not settings.AUDIT_STREAM_URL:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM (SELECT 1 {_BEHIND} LIMIT 10000) AS waiting")  # noqa: S608
        count: int = cursor.fetchone()[0]
    return count
