"""The trail as a file that a worker makes, for what takes longer than a request may; front door: ``services``.

Whoever reads the trail asks, a worker writes the file and says how far it is, readers fetch it for some days. A worker
that died is noticed by its silence, and the file is made anew.
"""

import contextlib
import gzip
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from apps.audit import ports
from apps.audit.contracts import AuditFilter
from apps.audit.models import AuditExport
from apps.core.clock import now
from apps.core.context import current
from apps.core.errors import Conflict, NotFound
from apps.core.ratelimit import Limit, enforce
from apps.core.tenancy import org_scope, system_scope
from apps.events.services import publish

__all__ = ["export_filter", "export_path", "fetch_export", "make_export", "request_export", "sweep_exports"]

log = structlog.get_logger(__name__)

_PER_ORG = Limit("audit-export-file", 20, 86_400)
_SILENT = timedelta(minutes=5)
_MAX_ATTEMPTS = 3
_UNFINISHED = (AuditExport.State.QUEUED, AuditExport.State.RUNNING)


def export_path(row: AuditExport) -> Path:
    """The file of an export, whether it is there or not."""
    return _directory() / f"{row.pk}.gz"


def _directory() -> Path:
    path = Path(settings.DATA_DIR) / "audit-exports"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


# ---------------------------------------------------------------- asking
@transaction.atomic
def request_export(*, org_id: UUID, wanted: AuditFilter, form: str) -> AuditExport:
    """Have the entries that meet a filter, of all that is there now, put into a file. One at a time, twenty a day.

    :class:`Conflict` (``export_running``) while another of the organisation's is being made.
    """
    enforce(_PER_ORG, str(org_id), detail="Twenty exports a day")
    # What comes meanwhile is another export's: otherwise the end of this one would run away from it.
    until = min(wanted.end, now()) if wanted.end else now()
    kept = _plain(replace(wanted, end=until))
    with org_scope(org_id):
        try:
            with transaction.atomic():
                row: AuditExport = AuditExport.objects.create(
                    org_id=org_id, requested_by_id=current().actor.id, format=form, wanted=kept
                )
        except IntegrityError as error:
            raise Conflict("An export is being made already", code="export_running") from error
        asked = {name: value for name, value in asdict(wanted).items() if value is not None}
        _record("audit.export_requested", row, after={"format": form, **asked})
        _queue(row)
    return row


def _queue(row: AuditExport) -> None:
    export_id = UUID(str(row.pk))
    transaction.on_commit(lambda: ports.export_queue.get()(export_id))


def _plain(wanted: AuditFilter) -> dict[str, str]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else str(value)
        for name, value in asdict(wanted).items()
        if value is not None
    }


def export_filter(row: AuditExport) -> AuditFilter:
    """Which entries an export is of."""
    kept: dict[str, Any] = dict(row.wanted)
    if "actor_id" in kept:
        kept["actor_id"] = UUID(kept["actor_id"])
    for name in ("start", "end"):
        if name in kept:
            kept[name] = datetime.fromisoformat(kept[name])
    return AuditFilter(**kept)


def fetch_export(*, org_id: UUID, export_id: UUID) -> tuple[AuditExport, Path]:
    """The file of an export of the organisation; each fetching is on record, as ``audit.exported``.

    :class:`NotFound` while it is not there, once its time is over, and once somebody in it was erased.
    """
    with org_scope(org_id):
        row = AuditExport.objects.filter(pk=export_id, state=AuditExport.State.READY, expires_at__gt=now()).first()
        outdated = row is not None and _is_outdated(row)
    if row is None or outdated or not export_path(row).exists():
        raise NotFound("There is no such export, or its time is over")
    with transaction.atomic(), org_scope(org_id):
        _record("audit.exported", row, after={"format": row.format, "entries": row.entries})
    return row, export_path(row)


def _is_outdated(row: AuditExport) -> bool:
    """Whether it was asked for before somebody was forgotten, and may say of them what nobody reads any more."""
    from apps.audit.selectors import forgotten_since

    return forgotten_since(UUID(str(row.org_id)), row.created_at)


# ---------------------------------------------------------------- making
def make_export(*, export_id: UUID) -> bool:
    """Make the file of an export that waits; whether it is there now. A failure is kept, as a sentence."""
    with system_scope("an export says itself whose it is"):
        claimed = AuditExport.objects.filter(pk=export_id, state__in=_UNFINISHED)
        row = claimed.first()
        # Whoever counts the attempt up has it.
        if row is None or claimed.filter(attempts=row.attempts).update(
            attempts=row.attempts + 1, state=AuditExport.State.RUNNING, seen_at=now(), entries=0
        ) != 1:  # fmt: skip
            return False
    partial = export_path(row).with_suffix(f".part{row.attempts + 1}")
    try:
        entries = _write(partial, row)
        partial.replace(export_path(row))
        _ready(row, entries)
    except Exception as error:
        log.exception("audit.export_failed", export_id=str(export_id))
        partial.unlink(missing_ok=True)
        _failed(row, f"{type(error).__name__}: it could not be written; ask for another one"[:300])
        return False
    return True


def _write(path: Path, row: AuditExport) -> int:
    from apps.audit.export import export_lines
    from apps.audit.selectors import audit_list

    org_id, wanted, done = UUID(str(row.org_id)), export_filter(row), 0
    with org_scope(org_id):
        _tell(row, total=audit_list(wanted).count())

    def progress(count: int) -> None:
        nonlocal done
        done = count
        _tell(row, entries=count)

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        os.fdopen(descriptor, "wb") as file,
        gzip.open(file, "wt", compresslevel=5, encoding="utf-8", newline="") as out,
    ):
        for line in export_lines(org_id, wanted, row.format, progress=progress):  # type: ignore[arg-type]
            out.write(line)
    return done


def _tell(row: AuditExport, **fields: Any) -> None:
    with org_scope(UUID(str(row.org_id))):
        AuditExport.objects.filter(pk=row.pk).update(seen_at=now(), **fields)


@transaction.atomic
def _ready(row: AuditExport, entries: int) -> None:
    size, expires = export_path(row).stat().st_size, now() + timedelta(days=settings.ORG_EXPORT_DAYS)
    _tell(
        row, state=AuditExport.State.READY, entries=entries, size_bytes=size, finished_at=now(), expires_at=expires
    )  # fmt: skip
    _publish("audit.export_ready", row, entries=entries, expires_at=expires)


@transaction.atomic
def _failed(row: AuditExport, said: str) -> None:
    _tell(row, state=AuditExport.State.FAILED, failure=said, finished_at=now())
    _publish("audit.export_failed", row, failure=said)


def _publish(kind: str, row: AuditExport, **data: Any) -> None:
    asked = {"export_id": row.pk, "requested_by_id": row.requested_by_id}
    publish(type=kind, org_id=UUID(str(row.org_id)), data={**asked, **data})


# ---------------------------------------------------------------- by the clock
def sweep_exports() -> dict[str, int]:
    """Take up exports whose worker died or was never told, and remove files whose time is over or in which somebody is
    who was erased.
    """
    found = {"again": 0, "failed": 0, "removed": 0}
    for row in AuditExport.objects.filter(state__in=_UNFINISHED, seen_at__lt=now() - _SILENT):
        if row.attempts >= _MAX_ATTEMPTS:
            _failed(row, "Its worker died several times; ask whoever runs this MindWeave")
            found["failed"] += 1
        else:
            _tell(row)
            _queue(row)
            found["again"] += 1
    for row in AuditExport.objects.filter(state=AuditExport.State.READY):
        if row.expires_at > now() and not _is_outdated(row):
            continue
        export_path(row).unlink(missing_ok=True)
        with org_scope(UUID(str(row.org_id))):
            AuditExport.objects.filter(pk=row.pk).update(state=AuditExport.State.GONE)
        found["removed"] += 1
    return {**found, "orphans": _remove_orphans()}


def _remove_orphans() -> int:
    """Files that no export names: of organisations that were erased, and of workers that died."""
    kept = AuditExport.objects.filter(state__in=(*_UNFINISHED, AuditExport.State.READY))
    wanted = {str(pk) for pk in kept.values_list("pk", flat=True)}
    removed = 0
    for path in _directory().iterdir():
        if path.stem not in wanted:
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _record(action: str, row: AuditExport, **details: Any) -> None:
    from apps.audit import services

    record: Callable[..., UUID] = services.record
    record(
        action=action, org_id=UUID(str(row.org_id)), target_type="audit_export", target_id=row.pk,
        target_label="Audit log", **details,
    )  # fmt: skip
