"""``manage.py openapi``: the snapshot of the API's document."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.core.openapi import schema_text


class Command(BaseCommand):
    help = "Print the OpenAPI document, write its snapshot, or check that code and snapshot agree."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--write", action="store_true", help="write docs/openapi.json")
        what.add_argument("--check", action="store_true", help="fail where docs/openapi.json differs from the code")

    def handle(self, *args: Any, **options: Any) -> None:
        path, text = Path(settings.BASE_DIR) / "docs" / "openapi.json", schema_text()
        if options["write"]:
            path.write_text(text, encoding="utf-8")
        elif options["check"]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                raise CommandError(
                    "docs/openapi.json differs from the code; run `manage.py openapi --write` and review"
                )
        else:
            self.stdout.write(text, ending="")
