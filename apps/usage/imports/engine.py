"""The work of an import: read through once, then counted chunk by chunk, each in one transaction with its place.

Whatever ends it (a kill, a full disk, PostgreSQL going away), it goes on behind the last chunk that was committed: the
chunk's events, its digest and the place behind it stand or fall together.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg.errors
from celery.exceptions import SoftTimeLimitExceeded
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction

from apps.core import clock
from apps.core.backoff import backoff
from apps.usage.contracts import IngestResult, Rejection
from apps.usage.errors import InboxFull
from apps.usage.imports.content import MalformedFile, blocks, compression_of
from apps.usage.imports.csv_rows import Header
from apps.usage.imports.finish import fail, finish
from apps.usage.imports.lines import Chunk, chunks, csv_records, lines
from apps.usage.imports.parse import Parsed, parse_chunk
from apps.usage.imports.under import KeyGone, key_context
from apps.usage.models import Import, ImportChunk, ImportProblem
from apps.usage.models.imports import UNFINISHED
from apps.usage.services import ingest

__all__ = ["MAX_PROBLEMS", "content_of", "run"]

logger = logging.getLogger(__name__)

# Refused lines that are kept with their reason; those beyond are only counted.
MAX_PROBLEMS = 10_000
_LOOK_EVERY = 64 << 20
_FIRST_WAIT = timedelta(milliseconds=100)
_LONGEST_WAIT = timedelta(seconds=5)

Tell = Callable[[Import], None]


class _Stopped(Exception):
    """The import is not ours to go on with: cancelled, or taken further by another process."""


class _OutOfTime(Exception):
    """The slice is over; the work goes on in another."""


# By its first bytes, what is sent for a file of lines now and then.
_OTHERS = {
    b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "packed with bzip2", b"\xfd7zXZ": "packed with xz", b"PAR1": "Parquet", b"SQLite format 3": "a database",
    b"\0": "binary",
}  # fmt: skip


def _refuse_others(head: bytes) -> None:
    for begin, what in _OTHERS.items():
        if head.startswith(begin):
            raise MalformedFile(
                f"The content is {what}; send JSON lines or CSV in UTF-8, plain or packed with gzip or zstd"
            )


def content_of(path: Path, *, on_bytes: Callable[[int], None] = lambda size: None) -> tuple[bytes, int, str]:
    """SHA-256 and length of the inflated content, and whether it is ``jsonl`` or ``csv``; reads it to its end."""
    digest, size, kind, looked = hashlib.sha256(), 0, "", 0
    for block in blocks(path, limit=settings.USAGE_IMPORT_MAX_INFLATED_BYTES):
        digest.update(block)
        size += len(block)
        if not size - len(block):
            _refuse_others(block)
        if not kind and (text := block.removeprefix(b"\xef\xbb\xbf").lstrip()):
            if text.startswith(b"["):
                raise MalformedFile("A JSON array cannot be imported; write one event a line")
            kind = "jsonl" if text.startswith(b"{") else "csv"
        if size - looked >= _LOOK_EVERY:
            looked = size
            on_bytes(size)
    return digest.digest(), size, kind or "jsonl"


def run(import_id: UUID, path: Path, *, seconds: float | None = None, tell: Tell = lambda row: None) -> bool:
    """Take the import on until it ends, or for about ``seconds``; whether it has ended (completed, failed, cancelled).

    Call it in the organisation's scope, by one process at a time. Raises ``OperationalError`` where PostgreSQL stays
    away; the import then stands as it is and can be taken on again.
    """
    row = _start(import_id)
    if row is None:
        return True
    try:
        _check(row, path)
        for counted in _counted(row, path, seconds):
            tell(counted)
        finish(import_id)
    except _OutOfTime:
        return False
    except _Stopped:
        logger.info("import %s goes no further here", import_id)
    except (MalformedFile, KeyGone) as error:
        fail(import_id, str(error), final=error.is_final)
    except InboxFull as error:
        fail(import_id, f"It waited {settings.USAGE_IMPORT_PATIENCE_SECONDS} seconds in vain. {error.detail}")
    except OSError as error:
        fail(import_id, f"The file cannot be read: {error.strerror or error}")
    except OperationalError as error:
        if not _disk_is_full(error):
            raise
        fail(import_id, "The database's disk is full; resume the import once there is room")
    except (InterfaceError, SoftTimeLimitExceeded):
        raise
    except Exception as error:
        logger.exception("import %s stopped by an error that nobody foresaw", import_id)
        fail(import_id, f"An unexpected error stopped it ({type(error).__name__}); it can be resumed")
    return True


def _start(import_id: UUID) -> Import | None:
    """The import, running from now on; None where it has ended."""
    with transaction.atomic():
        row: Import | None = Import.objects.select_for_update().filter(pk=import_id, state__in=UNFINISHED).first()
        if row is None:
            return None
        now = clock.now()
        # What an import is stuck for is counted through its slices; that nobody worked at it is no being stuck.
        idle = (now - row.updated_at).total_seconds() > settings.USAGE_IMPORT_PATIENCE_SECONDS
        if row.state != Import.State.RUNNING or idle:
            row.state, row.started_at, row.updated_at = Import.State.RUNNING, row.started_at or now, now
            Import.objects.filter(pk=import_id).update(state=row.state, started_at=row.started_at, updated_at=now)
    return row


def _check(row: Import, path: Path) -> None:
    """Read the file through once: a broken one is refused before anything of it counts."""
    if row.content_sha256 is not None:
        return

    def still_wanted(size: int) -> None:
        if not Import.objects.filter(pk=row.pk, state=Import.State.RUNNING).update(updated_at=clock.now()):
            raise _Stopped

    digest, size, kind = content_of(path, on_bytes=still_wanted)
    row.content_sha256, row.content_bytes = digest, size
    row.compression, row.format = compression_of(path), row.format or kind
    row.save(update_fields=["content_sha256", "content_bytes", "compression", "format", "updated_at"])


def _counted(row: Import, path: Path, seconds: float | None) -> Iterator[Import]:
    """Count what is left of the content; yields the import as it stands behind each chunk."""
    header = _header(path) if row.format == "csv" else None
    began, end = time.monotonic(), None
    for chunk in _chunks(row, path, header):
        if seconds is not None and end is None:
            # The way to the place where the last slice ended is long in a compressed file: work longer than that took.
            now = time.monotonic()
            end = now + max(seconds, 4 * (now - began))
        elif end is not None and time.monotonic() > end:
            raise _OutOfTime
        parsed = parse_chunk(chunk, header=header, content=bytes(row.content_sha256 or b""))
        row = _commit_patiently(row, chunk, parsed, end)
        yield row


def _chunks(row: Import, path: Path, header: Header | None) -> Iterator[Chunk]:
    source = blocks(path, limit=settings.USAGE_IMPORT_MAX_INFLATED_BYTES, start=row.bytes_read)
    records = lines(source, line=row.lines_read, offset=row.bytes_read)
    if header is None:
        return chunks(records)
    rows = csv_records(records)
    if row.bytes_read == 0:
        next(rows)
    return chunks(rows)


def _header(path: Path) -> Header:
    first = next(csv_records(lines(blocks(path, limit=settings.USAGE_IMPORT_MAX_INFLATED_BYTES))), None)
    if first is None or first.data is None:
        raise MalformedFile("The first row does not name the columns")
    return Header(first.data)


def _commit_patiently(row: Import, chunk: Chunk, parsed: Parsed, end: float | None) -> Import:
    """Commit a chunk; a full inbox and a database that is away are waited for, each time longer, up to a bound."""
    began, attempt = time.monotonic(), 0
    # How long it is stuck already, in slices before this one.
    stuck = (clock.now() - row.updated_at).total_seconds()
    while True:
        try:
            return _commit(row, chunk, parsed)
        except (InboxFull, OperationalError, InterfaceError) as error:
            if _disk_is_full(error) or stuck + time.monotonic() - began > settings.USAGE_IMPORT_PATIENCE_SECONDS:
                raise
            if not isinstance(error, InboxFull):
                connection.close()
            if end is not None and time.monotonic() > end:
                raise _OutOfTime from error
            attempt += 1
            time.sleep(backoff(attempt, first=_FIRST_WAIT, longest=_LONGEST_WAIT).total_seconds())


def _disk_is_full(error: BaseException) -> bool:
    return isinstance(error.__cause__, psycopg.errors.DiskFull)


def _commit(row: Import, chunk: Chunk, parsed: Parsed) -> Import:
    """In one transaction: the chunk's events, its digest, its refused lines, and the place behind it."""
    with transaction.atomic():
        now: Import | None = Import.objects.select_for_update().filter(pk=row.pk).first()
        if now is None or now.state != Import.State.RUNNING or now.bytes_read != row.bytes_read:
            raise _Stopped
        if chunk.records:
            _count(now, chunk, parsed)
        now.bytes_read, now.lines_read = chunk.end, chunk.last
        now.save(
            update_fields=[
                "accepted", "duplicates", "rejected", "repeated", "problems_kept", "bytes_read", "lines_read",
                "updated_at",
            ]
        )  # fmt: skip
    return now


def _count(row: Import, chunk: Chunk, parsed: Parsed) -> None:
    """Take the chunk's events in, unless a chunk of the same digest was: then its lines count as repeated."""
    if parsed.events and not _is_new(row, chunk, parsed):
        row.repeated += len(chunk.records)
        return
    result = IngestResult(rejected=parsed.rejected)
    if parsed.events:
        result = ingest(
            key=key_context(row), events=parsed.events, places=parsed.places, rejected=parsed.rejected,
            check_nul=parsed.check_nul,
        )  # fmt: skip
    row.accepted += result.accepted
    row.duplicates += result.duplicates
    row.rejected += len(result.rejected)
    row.problems_kept += _keep(row, result.rejected)


def _is_new(row: Import, chunk: Chunk, parsed: Parsed) -> bool:
    """Note the chunk as counted, with the caller's transaction; False where it was before."""
    _, new = ImportChunk.objects.get_or_create(
        org_id=row.org_id, project_id=row.project_id, digest=parsed.digest,
        defaults={"of": row, "first_line": chunk.records[0].line, "events": len(parsed.events)},
    )  # fmt: skip
    return bool(new)


def _keep(row: Import, rejected: list[Rejection]) -> int:
    kept = rejected[: max(0, MAX_PROBLEMS - row.problems_kept)]
    ImportProblem.objects.bulk_create(
        ImportProblem(
            org_id=row.org_id, of=row, line=r.index, event_id=_storable(r.event_id), code=r.code,
            detail=_storable(r.detail) or "", pointer=_storable(r.pointer.removeprefix(f"/events/{r.index}")) or "",
        )
        for r in kept
    )  # fmt: skip
    return len(kept)


def _storable(text: str | None) -> str | None:
    """PostgreSQL holds no NUL characters, which a sentence may quote."""
    return None if text is None else text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:1000]
