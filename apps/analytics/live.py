"""What moves on a page: today's spend and events, events a minute. Asked for by sockets and by polling alike.

The figures are read from the rollups, so a repeated or lost message changes nothing; a snapshot is shared for a
quarter of a second by everybody who watches the organisation, so watching costs at most four reads a second.
"""

from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.cache import cache

from apps.analytics.reads import read
from apps.core.clock import now
from apps.core.groups import group_send
from apps.core.tenancy import org_scope
from apps.core.web import figures
from apps.events.contracts import Envelope
from apps.usage.live import org_group

__all__ = ["SNAPSHOT_SECONDS", "on_access_ended", "on_batch", "org_group", "snapshot", "user_group"]

SNAPSHOT_SECONDS = 0.25
_MINUTES = 16


def user_group(user_id: UUID) -> str:
    """The channel group of all sockets of a person."""
    return f"live.user.{user_id.hex}"


def on_batch(envelope: Envelope) -> None:
    """``usage.batch_ingested``: tell the watchers of the organisation that its figures moved."""
    if envelope.org_id is not None:
        group_send(org_group(envelope.org_id), {"type": "usage.moved"})


def on_access_ended(envelope: Envelope) -> None:
    """A membership or a sign-in ended: the person's sockets ask again whether they may listen."""
    group_send(user_group(UUID(envelope.data["user_id"])), {"type": "access.changed"})


def snapshot(org_id: UUID, timezone: str) -> dict[str, Any]:
    """The moving figures of an organisation as the page writes them; days are cut in ``timezone``."""
    key = f"live:{org_id.hex}:{timezone}"
    found: dict[str, Any] | None = cache.get(key)
    if found is None:
        found = _read(org_id, timezone)
        cache.set(key, found, timeout=SNAPSHOT_SECONDS)
    return found


def _read(org_id: UUID, timezone: str) -> dict[str, Any]:
    moment = now()
    zone = ZoneInfo(timezone)
    midnight = datetime.combine(moment.astimezone(zone).date(), time(), zone)
    minute = moment.replace(second=0, microsecond=0)
    since = minute - timedelta(minutes=_MINUTES - 1)
    with org_scope(org_id):
        _, today = read(org_id, start=midnight, end=minute + timedelta(minutes=1), timezone=timezone)
        rows, _ = read(org_id, start=since, end=minute + timedelta(minutes=1), timezone=timezone, granularity="minute")
    by_minute = {row.start: row.figures.events for row in rows}
    ticks = [by_minute.get(since + timedelta(minutes=n), 0) for n in range(_MINUTES)]
    # The last 60 seconds: this minute so far, and the part of the one before that they still hold.
    rate = round(ticks[-1] + ticks[-2] * (60 - moment.second) / 60)
    return {
        "rate": {"value": rate, "text": figures.count(rate)},
        "spend": {"text": figures.money(today.cost), "exact": figures.exact_money(today.cost)},
        "events": {"text": figures.count(today.events), "exact": figures.count(today.events)},
        "calls": today.calls,
        "as_of": {"at": moment.isoformat(), "text": f"{moment.astimezone(zone):%H:%M:%S}"},
        "ticks": ticks,
    }
