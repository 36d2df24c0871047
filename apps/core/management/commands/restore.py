"""``manage.py restore``: an empty database out of a backup."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from apps.core.backup import restore


class Command(BaseCommand):
    help = "Restore a backup into the empty database that DATABASE_URL names, and compare its sums."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        manifest = restore(options["file"])
        self.stdout.write(f"Restored what was backed up at {manifest['made_at']}; all sums agree")
