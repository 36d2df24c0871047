"""Imports as background work: one of an organisation at a time, in slices, so that other work gets its turn."""

from datetime import timedelta
from uuid import UUID

from apps.core import clock
from apps.core.tenancy import org_scope
from apps.scheduler.background import background_task, enqueue
from apps.scheduler.locks import HeldLocks, is_held
from apps.scheduler.registry import job
from apps.usage.imports import store
from apps.usage.imports.engine import run
from apps.usage.imports.finish import KEPT_AFTER_FAILURE, fail
from apps.usage.models import Import
from apps.usage.models.imports import UNFINISHED

__all__ = ["lock_name", "run_imports", "sweep_imports", "take_on"]

_SLICE_SECONDS = 20.0
# A command that waits for its turn says so by touching its import; one that says nothing is dead.
_SILENT = timedelta(minutes=5)


def lock_name(org_id: UUID) -> str:
    """Held by whoever runs an import of the organisation."""
    return f"usage-import:{org_id}"


@background_task(name="usage.run_imports")
def run_imports(org_id: str) -> None:
    """Take the imports of an organisation on for a while; again, while some are left."""
    if take_on(UUID(org_id)):
        enqueue(run_imports, org_id=org_id)


def take_on(org_id: UUID, *, seconds: float = _SLICE_SECONDS) -> bool:
    """Run the oldest unfinished upload of the organisation for so long; whether there is more to do.

    Does nothing where another process is at it: that one goes on by itself.
    """
    with org_scope(org_id), HeldLocks() as locks:
        if not locks.take(lock_name(org_id)):
            return False
        waiting = Import.objects.filter(state__in=UNFINISHED, origin=Import.Origin.UPLOAD).order_by("created_at", "id")
        row = waiting.first()
        if row is None:
            return False
        run(row.pk, store.path_of(row.stored_as), seconds=seconds)
        return bool(waiting.exists())


@job(name="usage.imports", every=timedelta(seconds=30), retries=0)
def sweep_imports() -> dict[str, int]:
    """Take up what a dead process left, tell of commands that died, and remove files that nobody needs."""
    orgs = {
        org_id
        for org_id in Import.objects.filter(state__in=UNFINISHED, origin=Import.Origin.UPLOAD)
        .order_by().values_list("org_id", flat=True).distinct()
        if not is_held(lock_name(org_id))
    }  # fmt: skip
    for org_id in orgs:
        with org_scope(org_id):
            enqueue(run_imports, org_id=str(org_id))
    return {"taken_up": len(orgs), "dead_commands": _end_dead_commands(), "files": _remove_files()}


def _end_dead_commands() -> int:
    silent = Import.objects.filter(
        state__in=UNFINISHED, origin=Import.Origin.COMMAND, updated_at__lt=clock.now() - _SILENT
    )
    dead = [row for row in silent if row.state == Import.State.QUEUED or not is_held(lock_name(row.org_id))]
    for row in dead:
        with org_scope(row.org_id):
            Import.objects.filter(pk=row.pk, state=Import.State.QUEUED).update(state=Import.State.RUNNING)
            fail(row.pk, "The command that ran it has ended; run it again with the same file to resume")
    return len(dead)


def _remove_files() -> int:
    old = Import.objects.filter(state=Import.State.FAILED, finished_at__lt=clock.now() - KEPT_AFTER_FAILURE)
    for row in old.exclude(stored_as=""):
        store.remove(row.stored_as)
        with org_scope(row.org_id):
            Import.objects.filter(pk=row.pk).update(stored_as="")
    wanted = set(Import.objects.exclude(stored_as="").values_list("stored_as", flat=True))
    return store.sweep(wanted)
