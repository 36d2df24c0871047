"""Erasing an organisation whose grace is over: every row of it, in bounded batches, until only a tombstone is left.

The audit trail stays, as it must to be verified, but the keys of what it says are destroyed. A batch and its count
stand or fall together, and deleting what is gone does nothing: whatever kills the work, the next run goes on where it
was.
"""

import time
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction

from apps.accounts.models import Organization, OrgStatus, OrgTombstone
from apps.audit.services import forget_org, record
from apps.core.clock import now
from apps.core.orgdata import org_areas
from apps.core.tenancy import org_scope
from apps.events.services import publish

__all__ = ["erase_due", "erase_organization"]

log = structlog.get_logger(__name__)

# Rows in one transaction; some tables take those of others with them.
BATCH = 1000


def erase_due(*, seconds: float = 600.0) -> dict[str, int]:
    """Go on erasing the organisations whose grace is over, for about so long; how many are done and are left."""
    deadline, done = time.monotonic() + seconds, 0
    due = Organization.objects.filter(status=OrgStatus.DELETED, erase_at__lte=now())
    for org_id in list(due.order_by("erase_at", "id").values_list("pk", flat=True)):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        done += erase_organization(org_id=org_id, seconds=left)
    return {"erased": done, "left": due.count()}


def erase_organization(*, org_id: UUID, seconds: float, batch: int = BATCH) -> bool:
    """Erase one organisation whose grace is over, for about so long; whether all of it is gone now.

    False, too, for one that is not due: it was restored, or its grace extended, in the meantime.
    """
    deadline = time.monotonic() + seconds
    if not _begin(org_id):
        return False
    for area in org_areas():
        while True:
            with transaction.atomic():
                deleted = area.erase(org_id, batch)
                _count(org_id, deleted)
            if not deleted:
                break
            if time.monotonic() >= deadline:
                log.info("org.erasure_paused", org_id=str(org_id), area=area.key)
                return False
    _finish(org_id)
    return True


@transaction.atomic
def _begin(org_id: UUID) -> bool:
    """From here on there is no way back: whoever restores looks at the same row under the same lock."""
    org = Organization.objects.select_for_update().filter(pk=org_id).first()
    if org is None or org.status != OrgStatus.DELETED or org.erase_at is None or org.erase_at > now():
        return False
    if org.erasing_at is None:
        Organization.objects.filter(pk=org_id).update(erasing_at=now(), updated_at=now())
        OrgTombstone.objects.create(pk=org_id, deleted_at=org.deleted_at or now())
        _tell(org_id, "org.erasure_started")
    return True


def _count(org_id: UUID, deleted: dict[str, int]) -> None:
    if not deleted:
        return
    stone = OrgTombstone.objects.select_for_update().get(pk=org_id)
    for name, number in deleted.items():
        stone.counts[name] = stone.counts.get(name, 0) + number
    stone.save(update_fields=["counts"])


@transaction.atomic
def _finish(org_id: UUID) -> None:
    with org_scope(org_id):
        Organization.objects.filter(pk=org_id).delete()
    stone = OrgTombstone.objects.select_for_update().get(pk=org_id)
    stone.erased_at = now()
    stone.save(update_fields=["erased_at"])
    rows = sum(stone.counts.values())
    _tell(org_id, "org.erased", after={"rows": rows, "tables": stone.counts})
    # What the trail says beyond ids and names of actions cannot be read from here on; its chain verifies as before.
    forget_org(org_id=org_id)
    publish(type="org.erased", org_id=org_id, data={"org_id": str(org_id), "rows": rows})
    log.info("org.erased", org_id=str(org_id), rows=rows)


def _tell(org_id: UUID, action: str, **details: Any) -> None:
    # Without its name: the entry outlives what it tells of.
    record(action=action, org_id=org_id, target_type="organization", target_id=org_id, **details)
