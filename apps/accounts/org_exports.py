"""All data of an organisation as one zip file of JSON lines, a file for each table of each area.

An owner asks, a worker makes it and says how far it is, the owner fetches it for some days. A worker that died is
noticed by its silence and the file is made anew.
"""

import contextlib
import os
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import structlog
from django.conf import settings
from django.db import IntegrityError, transaction

from apps.accounts import selectors
from apps.accounts.models import Membership, Organization, OrgExport, Role
from apps.audit.selectors import forgotten_since
from apps.audit.services import record
from apps.core.clock import now
from apps.core.errors import Conflict, NotFound, PermissionDenied
from apps.core.orgdata import OrgTable, org_areas
from apps.core.ratelimit import Limit, enforce
from apps.core.tenancy import org_scope, system_scope
from apps.identity import selectors as identity
from apps.notify.services import send_email
from apps.scheduler.background import enqueue

__all__ = ["directory", "fetch_export", "file_of", "latest_export", "make_export", "request_export", "sweep_exports"]

log = structlog.get_logger(__name__)

_PER_ORG = Limit("org-export", 10, 86_400)
_SILENT = timedelta(minutes=5)
_MAX_ATTEMPTS = 3
_TELL_EVERY = 5_000
_UNFINISHED = (OrgExport.State.QUEUED, OrgExport.State.RUNNING)


def directory() -> Path:
    """Where exports lie; made when first needed, for our own eyes only."""
    path = Path(settings.DATA_DIR) / "org-exports"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def file_of(export_id: UUID) -> Path:
    """The file of an export, whether it is there or not."""
    return directory() / f"{export_id}.zip"


# ---------------------------------------------------------------- asking
@transaction.atomic
def request_export(*, org_id: UUID, by_user_id: UUID) -> OrgExport:
    """Have all data of an organisation put into a file; for its owners. One at a time, ten a day.

    :class:`Conflict` (``export_running``) while another is being made, :class:`PermissionDenied` (``owners_only``).
    """
    _require_owner(org_id, by_user_id)
    enforce(_PER_ORG, str(org_id), detail="Ten exports a day")
    with org_scope(org_id):
        try:
            with transaction.atomic():
                row: OrgExport = OrgExport.objects.create(org_id=org_id, requested_by_id=by_user_id)
        except IntegrityError as error:
            raise Conflict("An export is being made already", code="export_running") from error
        _tell(row, "org.export_requested")
        _queue(row)
    return row


def _queue(row: OrgExport) -> None:
    from apps.accounts.tasks import export_organization

    enqueue(export_organization, export_id=str(row.pk))


def _require_owner(org_id: UUID, user_id: UUID) -> None:
    role = selectors.role_of(org_id=org_id, user_id=user_id)
    if role is None:
        raise NotFound()
    if role != Role.OWNER:
        raise PermissionDenied("Only an owner can export everything", code="owners_only")


def fetch_export(*, export_id: UUID, by_user_id: UUID) -> tuple[OrgExport, Path]:
    """The file of an export, for the owner who asked, a deleted organisation's too; each fetching is on record.

    :class:`NotFound` for everybody else, once it is gone, and once somebody in it was erased.
    """
    with system_scope("an export says itself whose it is"):
        row = OrgExport.objects.filter(pk=export_id, requested_by_id=by_user_id, state=OrgExport.State.READY).first()
        owner = row and Membership.objects.filter(org_id=row.org_id, user_id=by_user_id, role=Role.OWNER).exists()
    if row is None or not owner or row.expires_at is None or row.expires_at <= now():
        raise NotFound("There is no such export, or its time is over")
    if _is_outdated(row):
        raise NotFound("Somebody in it was erased since; ask for another one")
    path = file_of(row.pk)
    if not path.exists():
        raise NotFound("Its file is gone; ask for another one")
    with transaction.atomic(), org_scope(UUID(str(row.org_id))):
        OrgExport.objects.filter(pk=row.pk).update(downloads=row.downloads + 1)
        _tell(row, "org.export_fetched", after={"size_bytes": row.size_bytes})
    return row, path


def latest_export(org_id: UUID) -> OrgExport | None:
    """The newest export of an organisation, whatever became of it (a row, for this app's own views)."""
    with org_scope(org_id):
        found: OrgExport | None = OrgExport.objects.order_by("-created_at", "-id").first()
    return found


# ---------------------------------------------------------------- making
def make_export(*, export_id: UUID) -> bool:
    """Make the file of an export that waits; whether it is there now. A failure is kept, as a sentence."""
    with system_scope("an export says itself whose it is"):
        claimed = OrgExport.objects.filter(pk=export_id, state__in=_UNFINISHED)
        row = claimed.first()
        # Whoever counts the attempt up has it.
        if row is None or claimed.filter(attempts=row.attempts).update(
            attempts=row.attempts + 1, state=OrgExport.State.RUNNING, seen_at=now(), tables_done=0, rows=0
        ) != 1:  # fmt: skip
            return False
    org_id = UUID(str(row.org_id))
    partial = file_of(export_id).with_suffix(".part")
    try:
        with org_scope(org_id):
            rows = _write(partial, row, org_id)
            partial.replace(file_of(export_id))
            _ready(row, rows)
    except Exception as error:
        log.exception("org.export_failed", export_id=str(export_id))
        partial.unlink(missing_ok=True)
        with org_scope(org_id):
            _failed(row, f"{type(error).__name__}: it could not be written; ask for another one"[:300])
        return False
    return True


def _write(path: Path, row: OrgExport, org_id: UUID) -> int:
    tables = [(area.key, table) for area in reversed(org_areas()) for table in area.tables()]
    OrgExport.objects.filter(pk=row.pk).update(tables_total=len(tables))
    counts: dict[str, int] = {}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for done, (area, table) in enumerate(tables):
            name = f"{area}/{table.name}.jsonl"
            with archive.open(name, "w", force_zip64=True) as out:
                for line in _lines(row, table, org_id, counts, name, done):
                    out.write(line)
        org = Organization.objects.get(pk=org_id)
        manifest = {
            "organization": {"id": org_id, "name": org.name, "slug": org.slug},
            "made_at": now(),
            "rows": counts,
        }
        archive.writestr("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z))
    return sum(counts.values())


def _lines(
    row: OrgExport, table: OrgTable, org_id: UUID, counts: dict[str, int], name: str, done: int
) -> Iterator[bytes]:
    counts[name] = 0
    for item in table.rows(org_id):
        yield orjson.dumps(item, default=str, option=orjson.OPT_UTC_Z) + b"\n"
        counts[name] += 1
        if counts[name] % _TELL_EVERY == 0:
            _progress(row, done, counts)
    _progress(row, done + 1, counts)


def _progress(row: OrgExport, done: int, counts: dict[str, int]) -> None:
    OrgExport.objects.filter(pk=row.pk).update(tables_done=done, rows=sum(counts.values()), seen_at=now())


@transaction.atomic
def _ready(row: OrgExport, rows: int) -> None:
    size, expires = file_of(row.pk).stat().st_size, now() + timedelta(days=settings.ORG_EXPORT_DAYS)
    OrgExport.objects.filter(pk=row.pk).update(
        state=OrgExport.State.READY, rows=rows, size_bytes=size, finished_at=now(), expires_at=expires
    )
    _tell(row, "org.exported", after={"rows": rows, "size_bytes": size})
    _mail(row, "org_export", export_id=row.pk, expires_at=expires)


@transaction.atomic
def _failed(row: OrgExport, said: str) -> None:
    OrgExport.objects.filter(pk=row.pk).update(state=OrgExport.State.FAILED, failure=said, finished_at=now())
    _mail(row, "org_export_failed", failure=said)


def _mail(row: OrgExport, template: str, **context: Any) -> None:
    person, org = identity.user_find(row.requested_by_id), Organization.objects.get(pk=row.org_id)
    if person is not None and person.is_active:
        context |= {"org": org.name, "slug": org.slug, "name": person.name}
        send_email(to=person.email, template=template, context=context, org_id=UUID(str(row.org_id)))


def _is_outdated(row: OrgExport) -> bool:
    """Whether it was asked for before somebody was erased: it holds what is kept of them no longer."""
    with org_scope(UUID(str(row.org_id))):
        return forgotten_since(UUID(str(row.org_id)), row.created_at)


# ---------------------------------------------------------------- by the clock
def sweep_exports() -> dict[str, int]:
    """Take up exports whose worker died, and remove files whose time is over or in which somebody is who was erased;
    how many of each.
    """
    silent = OrgExport.objects.filter(state__in=_UNFINISHED, seen_at__lt=now() - _SILENT)
    again = failed = 0
    for row in list(silent):
        with org_scope(UUID(str(row.org_id))), transaction.atomic():
            if row.attempts >= _MAX_ATTEMPTS:
                _failed(row, "Its worker died several times; ask whoever runs this MindWeave")
                failed += 1
            else:
                OrgExport.objects.filter(pk=row.pk).update(seen_at=now())
                _queue(row)
                again += 1
    ready = OrgExport.objects.filter(state=OrgExport.State.READY)
    over = [row for row in ready if row.expires_at <= now() or _is_outdated(row)]
    for row in over:
        file_of(row.pk).unlink(missing_ok=True)
        with org_scope(UUID(str(row.org_id))):
            OrgExport.objects.filter(pk=row.pk).update(state=OrgExport.State.GONE)
    return {"again": again, "failed": failed, "removed": len(over), "orphans": _remove_orphans()}


def _remove_orphans() -> int:
    """Files that no export names: of organisations that were erased, and of workers that died."""
    kept = OrgExport.objects.filter(state__in=(*_UNFINISHED, OrgExport.State.READY))
    wanted = {str(pk) for pk in kept.values_list("pk", flat=True)}
    removed = 0
    for path in directory().iterdir():
        if path.stem not in wanted:
            with contextlib.suppress(OSError):
                path.unlink()
                removed += 1
    return removed


def _tell(row: OrgExport, action: str, **details: Any) -> None:
    record(action=action, org_id=UUID(str(row.org_id)), target_type="org_export", target_id=row.pk, **details)
