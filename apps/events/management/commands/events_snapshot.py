from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import orjson
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.events.compatibility import breaking_changes, published_schemas

DEFAULT = Path("tests/events/schemas.snapshot.json")


class Command(BaseCommand):
    help = "Write the schemas of all published events into their snapshot; refuses what would break a subscriber."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--path", type=Path, default=settings.BASE_DIR / DEFAULT, help=f"default {DEFAULT}")
        parser.add_argument("--check", action="store_true", help="only say whether the snapshot is up to date")

    def handle(self, *args: Any, path: Path, check: bool, **options: Any) -> None:
        published = published_schemas()
        text = orjson.dumps(published, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        present = path.read_bytes() if path.exists() else b"{}"
        if breaks := breaking_changes(orjson.loads(present), published):
            raise CommandError(
                "these changes would break subscribers; publish a new field or type instead:\n  " + "\n  ".join(breaks)
            )
        if present == text:
            self.stdout.write(f"{path.name} is up to date: {len(published)} types")
        elif check:
            raise CommandError(f"{path.name} is not up to date: run manage.py events_snapshot")
        else:
            path.write_bytes(text)
            self.stdout.write(f"{path.name} written: {len(published)} types")
