"""People whom only telemetry names, and how many people used anything."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db import connection

from apps.core.remember import remember
from apps.core.tenancy import org_scope
from apps.usage import store
from apps.usage.models import Person
from apps.usage.selectors.past import PAST_SECONDS, parts

__all__ = ["active_people", "unclaimed_people"]


def active_people(
    *, org_id: UUID, start: datetime, end: datetime, timezone: str, state: store.OrgState | None = None
) -> dict[date, int]:
    """How many people anything was counted for, by day of the organisation (``timezone`` is its own, and ``start`` and
    ``end`` are its midnights); a day with nobody is left out. A person who was claimed for a member is that member."""
    org = state or store.org_state(org_id)
    if org is None or start >= end:
        return {}
    zone = ZoneInfo(timezone)
    found: dict[date, int] = {}
    for first, last, past in parts(start, end, zone):
        params = {"org": org.number, "start": first.astimezone(zone).date(), "end": last.astimezone(zone).date()}
        if past:
            key = f"usage:people:{org.number}:{org.past}:{params['start']}:{params['end']}"
            found |= remember(key, partial(_active, params), seconds=PAST_SECONDS)
        else:
            found |= _active(params)
    return found


def _active(params: Mapping[str, Any]) -> dict[date, int]:
    # Whoever used something on a day stands there once before the people are looked up: a tenth of the rows.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT d.bucket, count(DISTINCT coalesce(p.claimed_by, w.person_id)) FROM"  # noqa: S608 - our own parts
            f" (SELECT DISTINCT r.bucket, r.who FROM {store.rollup_sql('day', 'who')} r) d"
            " JOIN usage_who w ON w.id = d.who LEFT JOIN usage_person p ON p.id = w.person_id"
            " WHERE w.person_id IS NOT NULL GROUP BY 1",
            params,
        )
        return dict(cursor.fetchall())


def unclaimed_people(org_id: UUID, ids: Iterable[UUID] | None = None) -> dict[UUID, str]:
    """Id → address or name of the people of an organisation that no member stands for yet."""
    with org_scope(org_id):
        rows = Person.objects.all()
        if ids is not None:
            rows = rows.filter(pk__in=list(ids))
        return {row.pk: str(row) for row in rows}
