import json
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.analytics.demo.build import build


class Command(BaseCommand):
    help = "Make a demo organisation with sixty days of history; prints how to sign in as JSON."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", help="write the JSON to this file (mode 0600) instead")

    def handle(self, *args: Any, **options: Any) -> None:
        facts = json.dumps(build())
        if not options["output"]:
            self.stdout.write(facts)
            return
        # Whole or not at all: a half-written file would be taken for a demo that exists.
        part = f"{options['output']}.part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(facts)
        os.replace(part, options["output"])
