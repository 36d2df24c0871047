"""The end of an import: its state, the audit trail and the bus, in one transaction; then its file goes."""

from datetime import timedelta
from functools import partial
from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.core import clock
from apps.events.services import publish
from apps.usage.imports import store
from apps.usage.models import Import

__all__ = ["KEPT_AFTER_FAILURE", "end", "fail", "finish"]

# So long a failed upload keeps its file, to be resumed.
KEPT_AFTER_FAILURE = timedelta(days=7)

_COUNTS = ("lines_read", "accepted", "duplicates", "rejected", "repeated")


def finish(import_id: UUID) -> None:
    """Everything is counted."""
    _end(import_id, Import.State.COMPLETED, "")


def fail(import_id: UUID, failure: str, *, final: bool = False) -> None:
    """It cannot go on; ``failure`` says why. What was counted stays.

    The file is kept for a while, except where the failure is ``final``: whoever went on would meet the same again.
    """
    _end(import_id, Import.State.FAILED, failure, final=final)


def _end(import_id: UUID, state: Import.State, failure: str, *, final: bool = False) -> None:
    with transaction.atomic():
        row = Import.objects.select_for_update().filter(pk=import_id, state=Import.State.RUNNING).first()
        if row is not None:
            end(row, state, failure, final=final)


def end(row: Import, state: Import.State, failure: str = "", *, final: bool = False) -> None:
    """End a locked import, in the caller's transaction."""
    row.state, row.failure, row.final, row.finished_at = state, failure, final, clock.now()
    if state == Import.State.COMPLETED:
        row.bytes_read = row.content_bytes or 0
    if row.stored_as and (final or state != Import.State.FAILED):
        transaction.on_commit(partial(store.remove, row.stored_as))
        row.stored_as = ""
    row.save(update_fields=["state", "failure", "final", "finished_at", "bytes_read", "stored_as", "updated_at"])
    counts = {name: getattr(row, name) for name in _COUNTS}
    record(
        action="usage.import_finished", org_id=row.org_id, target_type="import", target_id=row.pk,
        target_label=row.name, after={"state": str(state), **counts, **({"failure": failure} if failure else {})},
    )  # fmt: skip
    publish(
        type="usage.import_finished",
        org_id=row.org_id,
        data={
            "import_id": str(row.pk),
            "project_id": str(row.project_id),
            "name": row.name,
            "state": str(state),
            "failure": failure,
            **counts,
        },
    )
