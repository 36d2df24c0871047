"""``manage.py backup``: the whole database in one file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from apps.core.backup import backup


class Command(BaseCommand):
    help = "Write a consistent backup of the database to a file, with its sums beside it (docs/backup.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        manifest = backup(options["file"])
        self.stdout.write(f"{options['file']}: {options['file'].stat().st_size:,} bytes")
        for name, value in manifest["sums"].items():
            self.stdout.write(f"  {name}: {value:,}")
        self.stdout.write("Keep SECRET_KEY, FIELD_ENCRYPTION_KEYS and TOKEN_PEPPERS elsewhere: without them keys and"
                          " sealed values of the backup are worthless.")  # fmt: skip
