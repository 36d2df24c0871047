"""``manage.py reprice``: price again what was counted."""

import time
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from apps.core.errors import MindWeaveError
from apps.core.money import nano_to_str
from apps.usage.chunks import fetch
from apps.usage.management.commands._arguments import moment, org_of
from apps.usage.repricing import reprice, reprice_resume, reprice_start


class Command(BaseCommand):
    help = "Price events and sums by the present price book; goes on where it was broken off with --resume."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", help="slug or id; all organisations by default")
        parser.add_argument("--model", default="", help="one model; all by default")
        parser.add_argument("--from", dest="start", help="events of this moment or later (ISO 8601)")
        parser.add_argument("--to", dest="end", help="events before this moment")
        parser.add_argument("--only-unpriced", action="store_true", help="leave alone what has a cost")
        parser.add_argument("--reason", default="", help="kept in the audit trail")
        parser.add_argument("--resume", type=UUID, metavar="ID", help="go on with a run that was broken off or failed")

    def handle(self, *args: Any, **options: Any) -> None:
        run_id = options["resume"] or reprice_start(
            org_id=org_of(options["org"]) if options["org"] else None, model=options["model"],
            start=moment(options["start"]), end=moment(options["end"]), only_unpriced=options["only_unpriced"],
            reason=options["reason"],
        )  # fmt: skip
        self.stdout.write(f"Repricing {run_id}")
        try:
            if options["resume"]:
                reprice_resume(run_id)
            while not reprice(run_id, say=self.stdout.write):
                time.sleep(1.0)
        except MindWeaveError as error:
            raise CommandError(str(error.detail or error.title)) from error
        row = fetch(
            "SELECT looked_at, changed, left_alone, cost_before, cost_after FROM usage_reprice WHERE id = %s", (run_id,)
        )[0]
        looked, changed, left, before, after = map(int, row)
        self.stdout.write(
            f"{looked:,} events looked at, {changed:,} changed: {nano_to_str(before)} USD became"
            f" {nano_to_str(after)} USD" + (f"; {left:,} of mixed sums left as they are" if left else "")
        )
