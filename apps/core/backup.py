"""Backups of the whole database: one consistent snapshot, with sums that a restore is held to."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.core.management.base import CommandError
from django.db import connection, transaction

from apps.core import clock
from apps.core.dev.servers import ServerError, postgres_bin

__all__ = ["backup", "restore"]

# What a restore must give back to the unit. Tables that an installation lacks are left out.
_SUMS = {
    "people": "SELECT count(*) FROM identity_user",
    "organisations": "SELECT count(*) FROM accounts_organization",
    "keys": "SELECT count(*) FROM projects_apikey",
    "audit_entries": "SELECT count(*) FROM audit_entry",
    "raw_events": "SELECT coalesce(sum(events), 0) FROM usage_chunk",
    "waiting_events": "SELECT coalesce(sum(events), 0) FROM usage_inbox",
    "set_aside_events": "SELECT coalesce(sum(events), 0) FROM usage_set_aside",
    "counted_ids": "SELECT coalesce(sum(ids), 0) FROM usage_id_segment",
    "day_events": "SELECT coalesce(sum(events), 0) FROM (SELECT events FROM usage_rollup_day UNION ALL"
    " SELECT events FROM usage_delta) s",
    "day_cost_nano": "SELECT coalesce(sum(cost_nano), 0) FROM (SELECT cost_nano FROM usage_rollup_day UNION ALL"
    " SELECT cost_nano FROM usage_delta) s",
    "session_events": "SELECT coalesce(sum(events), 0) FROM (SELECT events FROM usage_session UNION ALL"
    " SELECT events FROM usage_session_delta) s",
}


def backup(path: Path) -> dict[str, Any]:
    """Write the database to ``path`` (pg_dump's custom format) and ``path``.json; returns what the latter says.

    The dump and the sums are of one snapshot; everything goes on meanwhile. Raises :class:`CommandError`.
    """
    part = path.with_name(f"{path.name}.part")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("SELECT pg_export_snapshot()")
        snapshot = cursor.fetchone()[0]
        sums = _sums()
        cursor.execute("SELECT app, name FROM django_migrations ORDER BY id")
        migrations = [f"{app}.{name}" for app, name in cursor.fetchall()]
        # Everything anybody may not read is in it.
        part.touch(mode=0o600)
        _run("pg_dump", "--format=custom", f"--snapshot={snapshot}", f"--file={part}", _address())
    manifest = {
        "made_at": clock.now().isoformat(),
        "sha256": _digest(part),
        "migrations": migrations,
        "sums": sums,
    }
    path.with_name(f"{path.name}.json").write_text(json.dumps(manifest, indent=1))
    os.replace(part, path)
    return manifest


def restore(path: Path) -> dict[str, Any]:
    """Fill the empty database out of a backup and compare the sums; raises :class:`CommandError` where they differ."""
    try:
        manifest: dict[str, Any] = json.loads(path.with_name(f"{path.name}.json").read_text())
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}.json, which lies beside a backup, cannot be read: {error}") from error
    if not path.is_file() or _digest(path) != manifest["sha256"]:
        raise CommandError(f"{path} is not there, or not as it was written")
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        if cursor.fetchone()[0]:
            raise CommandError("The database is not empty; a backup is restored into an empty one only")
    connection.close()
    _run("pg_restore", "--exit-on-error", "--single-transaction", "--no-owner", f"--dbname={_address()}", str(path))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    found = _sums()
    wrong = [f"{name}: {manifest['sums'][name]} before, {found[name]} now" for name in found
             if found[name] != manifest["sums"][name]]  # fmt: skip
    if wrong:
        raise CommandError("The sums differ: " + "; ".join(wrong))
    return manifest


def _sums() -> dict[str, int]:
    with connection.cursor() as cursor:
        out = {}
        for name, sql in _SUMS.items():
            cursor.execute(sql)
            out[name] = int(cursor.fetchone()[0])
        return out


def _address() -> str:
    own = connection.settings_dict
    host, port = quote(str(own["HOST"] or ""), safe=""), f":{own['PORT']}" if own["PORT"] else ""
    return f"postgres://{quote(str(own['USER'] or ''))}@{host}{port}/{quote(str(own['NAME']))}"


def _run(program: str, *arguments: str) -> None:
    try:
        binary = postgres_bin() / program
    except ServerError:
        binary = Path(shutil.which(program) or program)
    environment = {**os.environ, "PGPASSWORD": str(connection.settings_dict["PASSWORD"] or "")}
    try:
        subprocess.run([str(binary), *arguments], check=True, capture_output=True, text=True, env=environment)
    except FileNotFoundError as error:
        raise CommandError(f"There is no {program}; install PostgreSQL's client programs") from error
    except subprocess.CalledProcessError as error:
        raise CommandError(f"{program} failed: {error.stderr.strip()[-1000:]}") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
