"""Imports as others start them: an upload, a file of this machine; cancelled and resumed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import transaction

from apps.audit.services import record
from apps.core import clock
from apps.core.database import lock_org
from apps.core.errors import Conflict, NotFound, ValidationFailed
from apps.core.tenancy import org_scope
from apps.projects import selectors as project_reads
from apps.scheduler.background import enqueue
from apps.scheduler.locks import HeldLocks
from apps.usage.imports import engine, store
from apps.usage.imports.content import compression_of
from apps.usage.imports.finish import end
from apps.usage.imports.job import lock_name, run_imports
from apps.usage.imports.under import key_for_imports
from apps.usage.models import Import
from apps.usage.models.imports import UNFINISHED

__all__ = [
    "FORMATS",
    "MAX_UNFINISHED",
    "cancel_import",
    "check_new_upload",
    "import_file",
    "refuse_too_many",
    "resume_import",
    "start_upload",
]

FORMATS = ("jsonl", "csv")
MAX_UNFINISHED = 20
_WAIT_SECONDS = 0.5


def check_new_upload(*, org_id: UUID, project_id: UUID, idempotency_key: str | None) -> Import | None:
    """The import that the key stands for already, or None where a file may be sent; refuses before any of it is read.

    Raises :class:`NotFound` for another's project, :class:`Conflict` with 20 unfinished uploads.
    """
    if idempotency_key is not None and not (1 <= len(idempotency_key) <= 255 and idempotency_key.isprintable()):
        raise ValidationFailed(
            "The Idempotency-Key is not valid",
            errors=[{"pointer": "Idempotency-Key", "detail": "1 to 255 printable characters"}],
        )
    with org_scope(org_id):
        if project_reads.project_get(org_id=org_id, project_id=project_id).archived_at is not None:
            raise Conflict("The project is archived", code="project_archived")
        if idempotency_key is not None:
            before: Import | None = Import.objects.filter(
                project_id=project_id, idempotency_key=idempotency_key
            ).first()
            if before is not None:
                return before
    refuse_too_many(org_id)
    return None


def refuse_too_many(org_id: UUID) -> None:
    """:class:`Conflict` with 20 unfinished uploads."""
    with org_scope(org_id):
        if Import.objects.filter(state__in=UNFINISHED, origin=Import.Origin.UPLOAD).count() >= MAX_UNFINISHED:
            raise Conflict(
                f"{MAX_UNFINISHED} imports wait already; send this file when some have ended", code="too_many_imports"
            )


def start_upload(
    *,
    org_id: UUID,
    project_id: UUID,
    key_id: UUID | None,
    stored_as: str,
    size: int,
    name: str,
    format: str = "",
    idempotency_key: str | None = None,
) -> Import:
    """Queue an uploaded file that :func:`store.store` has written; without ``key_id`` it counts under "Imports".

    With an ``idempotency_key`` that was used before, the import it stands for; the file then goes.
    """
    try:
        with org_scope(org_id), transaction.atomic():
            lock_org("usage-import", org_id)
            before = check_new_upload(org_id=org_id, project_id=project_id, idempotency_key=idempotency_key)
            if before is not None:
                store.remove(stored_as)
                return before
            row = _create(
                org_id=org_id, project_id=project_id, key_id=key_id, origin=Import.Origin.UPLOAD, name=name,
                size_bytes=size, stored_as=stored_as, format=format, idempotency_key=idempotency_key,
            )  # fmt: skip
            enqueue(run_imports, org_id=str(org_id))
    except BaseException:
        store.remove(stored_as)
        raise
    return row


def import_file(
    *, org_id: UUID, project_id: UUID, key_id: UUID | None, path: Path, format: str = "",
    tell: Callable[[Import], None] = lambda row: None, say: Callable[[str], None] = lambda text: None,
) -> Import:  # fmt: skip
    """Import a file of this machine to its end, in this process; the import as it ended.

    The same content begun before is resumed, and one that is completed is not read again. Raises
    :class:`~apps.usage.imports.content.MalformedFile` before anything is counted where the file is broken.
    """
    digest, size, kind = engine.content_of(path)
    with org_scope(org_id), HeldLocks() as locks:
        row: Import = _of_content(
            org_id=org_id, project_id=project_id, key_id=key_id, origin=Import.Origin.COMMAND, name=path.name,
            size_bytes=path.stat().st_size, format=format or kind, content_sha256=digest, content_bytes=size,
            compression=compression_of(path),
        )  # fmt: skip
        if row.state == Import.State.COMPLETED:
            say("this content was imported before; nothing is left to do")
            return row
        waited = 0
        while not locks.take(lock_name(org_id)):
            if not waited:
                say("waiting for another import of the organisation")
            waited += 1
            Import.objects.filter(pk=row.pk).update(updated_at=clock.now())
            time.sleep(_WAIT_SECONDS)
        engine.run(row.pk, path, tell=tell)
        locks.release(lock_name(org_id))
        if Import.objects.filter(state__in=UNFINISHED, origin=Import.Origin.UPLOAD).exists():
            enqueue(run_imports, org_id=str(org_id))
        row = Import.objects.get(pk=row.pk)
        return row


def _of_content(*, org_id: UUID, project_id: UUID, key_id: UUID | None, content_sha256: bytes, **fields: Any) -> Import:
    """The command's import of this content, made or taken up."""
    with transaction.atomic():
        lock_org("usage-import", org_id)
        same: Import | None = Import.objects.filter(
            project_id=project_id, content_sha256=content_sha256, origin=Import.Origin.COMMAND
        ).first()
        if same is None:
            return _create(org_id=org_id, project_id=project_id, key_id=key_id, content_sha256=content_sha256, **fields)
        if same.state in (Import.State.FAILED, Import.State.CANCELLED):
            _queue_again(same)
        return same


def _create(*, org_id: UUID, project_id: UUID, key_id: UUID | None, name: str, **fields: Any) -> Import:
    row: Import = Import.objects.create(
        org_id=org_id, project_id=project_id, name=_clean(name),
        key_id=key_id or key_for_imports(org_id=org_id, project_id=project_id), **fields,
    )  # fmt: skip
    _tell(row, "usage.import_started")
    return row


def _clean(name: str) -> str:
    """A file's name without its folders and what cannot be shown."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:200].strip() or "import"


def _tell(row: Import, action: str) -> None:
    record(
        action=action, org_id=row.org_id, target_type="import", target_id=row.pk, target_label=row.name,
        after={"origin": row.origin, "size_bytes": row.size_bytes, "project_id": str(row.project_id),
               "key_id": str(row.key_id)},
    )  # fmt: skip


def cancel_import(*, org_id: UUID, import_id: UUID, project_id: UUID | None = None) -> Import:
    """End an import that has not ended: what was counted stays. :class:`Conflict` where it has ended otherwise."""
    with org_scope(org_id), transaction.atomic():
        row = _locked(import_id, project_id)
        if row.state == Import.State.CANCELLED:
            return row
        if row.state == Import.State.FAILED or row.state in UNFINISHED:
            end(row, Import.State.CANCELLED)
            return row
        raise Conflict(f"The import is {row.state} already", code="import_ended")


def resume_import(*, org_id: UUID, import_id: UUID, project_id: UUID | None = None) -> Import:
    """Go on with an upload that failed, behind the last chunk that was counted.

    :class:`Conflict` without its file, and where it would fail for the same reason again.
    """
    with org_scope(org_id), transaction.atomic():
        lock_org("usage-import", org_id)
        row = _locked(import_id, project_id)
        if row.origin == Import.Origin.UPLOAD and row.state in UNFINISHED:
            return row
        if row.state != Import.State.FAILED:
            raise Conflict(f"The import is {row.state}; only a failed one can be resumed", code="import_not_failed")
        if row.final:
            raise Conflict(
                f"{row.why} Going on would end in the same; send the file anew once that is mended",
                code="import_failed_for_good",
            )
        if not row.stored_as:
            raise Conflict(
                "Its file is not kept any more; send the same file again, and what was counted is passed over",
                code="import_file_gone",
            )
        _queue_again(row)
        enqueue(run_imports, org_id=str(org_id))
    return row


def _queue_again(row: Import) -> None:
    row.state, row.failure, row.final, row.finished_at = Import.State.QUEUED, "", False, None
    row.save(update_fields=["state", "failure", "final", "finished_at", "updated_at"])
    _tell(row, "usage.import_resumed")


def _locked(import_id: UUID, project_id: UUID | None) -> Import:
    rows = Import.objects.select_for_update().filter(pk=import_id)
    row: Import | None = (rows if project_id is None else rows.filter(project_id=project_id)).first()
    if row is None:
        raise NotFound("There is no such import")
    return row
