"""What moves on a page: today's spend and events, events a minute. Asked for by sockets and by polling alike.

The figures are read from the rollups, so a repeated or lost message changes nothing; a snapshot is shared for a
quarter of a second by everybody who watches the organisation, so watching costs at most four reads a second.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.cache import cache

from apps.analytics.reads import Figures, read
from apps.core.clock import now
from apps.core.groups import group_send, groups_heard
from apps.core.tenancy import org_scope
from apps.core.web import figures
from apps.events.contracts import Envelope
from apps.usage.live import org_group

__all__ = ["SNAPSHOT_SECONDS", "on_access_ended", "on_batch", "org_group", "pick_watched", "snapshot", "user_group"]

SNAPSHOT_SECONDS = 0.25
_HOURS = 16


def user_group(user_id: UUID) -> str:
    """The channel group of all sockets of a person."""
    return f"live.user.{user_id.hex}"


def on_batch(envelope: Envelope) -> None:
    """``usage.batch_ingested``: tell the watchers of the organisation that its figures moved."""
    if envelope.org_id is not None:
        group_send(org_group(envelope.org_id), {"type": "usage.moved"})


def pick_watched(envelopes: Sequence[Envelope]) -> list[bool]:
    """Those of organisations that somebody watches. Whoever begins to watch joins first and reads then."""
    orgs = list({envelope.org_id for envelope in envelopes if envelope.org_id is not None})
    watched = dict(zip(orgs, groups_heard([org_group(org_id) for org_id in orgs]), strict=True))
    return [watched.get(envelope.org_id, False) for envelope in envelopes]  # type: ignore[arg-type]


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
    today = moment.astimezone(zone).date()
    minute = moment.replace(second=0, microsecond=0)
    # By way of UTC: an hour that the clocks repeat or leave out is an hour.
    hour = moment.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    since = hour - timedelta(hours=_HOURS - 1)
    start = min(datetime.combine(today, time(), zone).astimezone(UTC), since)
    with org_scope(org_id):
        hours, _ = read(
            org_id, start=start, end=hour + timedelta(hours=1), timezone=timezone, granularity="hour"
        )  # fmt: skip
        rows, _ = read(
            org_id, start=minute - timedelta(minutes=1), end=minute + timedelta(minutes=1), timezone=timezone,
            granularity="minute",
        )  # fmt: skip
    so_far = Figures()
    by_hour: dict[datetime, int] = {}
    for row in hours:
        if row.start is None:
            continue
        if row.start.astimezone(zone).date() == today:
            so_far += row.figures
        by_hour[row.start.astimezone(UTC)] = row.figures.events
    by_minute = {row.start: row.figures.events for row in rows}
    # The last 60 seconds: this minute so far, and the part of the one before that they still hold.
    before = by_minute.get(minute - timedelta(minutes=1), 0)
    rate = round(by_minute.get(minute, 0) + before * (60 - moment.second) / 60)
    return {
        "rate": {"value": rate, "text": figures.count(rate)},
        "spend": {"text": figures.money(so_far.cost), "exact": figures.exact_money(so_far.cost)},
        "events": {"text": figures.count(so_far.events), "exact": figures.count(so_far.events)},
        "calls": so_far.calls,
        "as_of": {"at": moment.isoformat(), "text": f"{moment.astimezone(zone):%H:%M:%S}"},
        "ticks": [by_hour.get(since + timedelta(hours=n), 0) for n in range(_HOURS)],
    }
