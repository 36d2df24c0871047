"""Uploaded files, in the data directory until they are imported."""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from django.conf import settings

from apps.core.errors import PayloadTooLarge, Unavailable, ValidationFailed

__all__ = ["directory", "path_of", "refuse_too_large", "refuse_without_room", "remove", "store", "sweep", "take"]

_LOOK_EVERY = 16 << 20
# A file that no import names was left by a process that died; younger ones may be on their way.
_ORPHAN_SECONDS = 24 * 3600.0


def directory() -> Path:
    """Where uploads lie; made when first needed, for our own eyes only."""
    path = Path(settings.DATA_DIR) / "imports"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def path_of(name: str) -> Path:
    """The file that was stored under ``name``."""
    return directory() / name


def refuse_too_large(size: int) -> None:
    """:class:`PayloadTooLarge` for a file above ``USAGE_IMPORT_MAX_BYTES``."""
    if size > settings.USAGE_IMPORT_MAX_BYTES:
        raise PayloadTooLarge(
            f"A file may have at most {settings.USAGE_IMPORT_MAX_BYTES:,} bytes; compress it, split it, or use"
            " manage.py import_events"
        )


def refuse_without_room(size: int) -> None:
    """503 where ``size`` more bytes would leave less than ``USAGE_MIN_FREE_BYTES`` on the disk."""
    if shutil.disk_usage(directory()).free - size < settings.USAGE_MIN_FREE_BYTES:
        raise _no_room()


def _no_room() -> Unavailable:
    return Unavailable("The disk has no room for this file now", code="disk_full", retry_after=300)


def store(blocks: Iterable[bytes]) -> tuple[str, int]:
    """Write an upload to the disk, block by block; its name and size. Nothing is left of one that is refused."""
    name, size, looked = str(uuid4()), 0, 0
    path = path_of(name)
    try:
        with path.open("xb") as file:
            for block in blocks:
                size += len(block)
                refuse_too_large(size)
                if size - looked >= _LOOK_EVERY:
                    looked = size
                    refuse_without_room(0)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        refuse_empty(size)
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _no_room() from error
        raise
    return name, size


def take(path: str) -> tuple[str, int]:
    """Make a file that lies in :func:`directory` already a stored one; its name and size."""
    size = os.stat(path).st_size
    refuse_empty(size)
    name = str(uuid4())
    os.rename(path, path_of(name))
    return name, size


def refuse_empty(size: int) -> None:
    """:class:`ValidationFailed` for a file without a byte."""
    if size == 0:
        raise ValidationFailed("The file is empty", code="empty_import")


def remove(name: str) -> None:
    """Remove a stored file, if it is still there."""
    if name:
        with contextlib.suppress(OSError):
            path_of(name).unlink(missing_ok=True)


def sweep(wanted: set[str]) -> int:
    """Remove files older than a day that are not ``wanted``; returns how many."""
    removed, now = 0, time.time()
    for path in directory().iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.name not in wanted and now - path.stat().st_mtime > _ORPHAN_SECONDS:
                path.unlink()
                removed += 1
    return removed
