"""``manage.py import_events``: count the usage events of files."""

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from apps.core.context import bind
from apps.core.contracts import system_actor
from apps.core.errors import MindWeaveError
from apps.core.tenancy import org_scope
from apps.projects import selectors as project_reads
from apps.usage.imports import selectors, services
from apps.usage.imports.content import MalformedFile
from apps.usage.imports.under import key_of_project
from apps.usage.management.commands._arguments import org_of
from apps.usage.models import Import

_TELL_EVERY = 2.0
_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Import usage events out of files: JSON lines or CSV; plain, gzip or zstd. A line is counted once, however"
        " often its file is imported; a run that was broken off goes on where it was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
        parser.add_argument("--org", required=True, help="slug or id")
        parser.add_argument("--project", required=True, help="slug or id")
        parser.add_argument(
            "--key", help="count under this key of the project: id, prefix or name (default: its key Imports)"
        )
        parser.add_argument("--format", choices=services.FORMATS, default="", help="default: the content is looked at")

    def handle(self, *args: Any, **options: Any) -> None:
        org_id = org_of(options["org"])
        with bind(actor=system_actor("import_events")), org_scope(org_id):
            project_id = _project(org_id, options["project"])
            key_id = None
            if options["key"]:
                try:
                    key_id = key_of_project(org_id=org_id, project_id=project_id, key=options["key"]).id
                except MindWeaveError as error:
                    raise CommandError(error.detail) from error
            done = [self._import(path, org_id, project_id, key_id, options["format"]) for path in options["files"]]
        if not all(done):
            raise CommandError("Not every file was imported; run the same command again to go on")

    def _import(self, path: Path, org_id: UUID, project_id: UUID, key_id: UUID | None, format: str) -> bool:
        """Whether the file is imported now."""

        def say(text: str) -> None:
            self.stdout.write(f"{path}: {text}")

        try:
            row = services.import_file(
                org_id=org_id, project_id=project_id, key_id=key_id, path=path, format=format, say=say,
                tell=_now_and_then(say),
            )  # fmt: skip
        except (MalformedFile, OSError) as error:
            self.stderr.write(f"{path}: {error}")
            return False
        except MindWeaveError as error:
            self.stderr.write(f"{path}: {error.detail}")
            return False
        say(f"{row.state}; {_counts(row)}")
        for problem in selectors.problem_list(row).order_by("line")[:_SHOWN]:
            say(f"line {problem.line}: {problem.detail} ({' '.join(filter(None, (problem.code, problem.pointer)))})")
        if row.rejected > _SHOWN:
            say(f"… {row.rejected - _SHOWN:,} more lines were refused")
        if row.failure:
            self.stderr.write(f"{path}: {row.failure}")
        return row.state == Import.State.COMPLETED


def _now_and_then(say: Any) -> Any:
    told = time.monotonic()

    def tell(row: Import) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_EVERY:
            told = time.monotonic()
            say(f"{row.percent:.1f} %; {_counts(row)}")

    return tell


def _counts(row: Import) -> str:
    return (
        f"{row.lines_read:,} lines: {row.accepted:,} accepted, {row.duplicates:,} duplicates, {row.rejected:,}"
        f" rejected, {row.repeated:,} imported before"
    )


def _project(org_id: UUID, text: str) -> UUID:
    for row in project_reads.project_list(org_id):
        if text in (row.slug, str(row.pk)):
            return row.pk
    raise CommandError(f"There is no project {text!r}")
