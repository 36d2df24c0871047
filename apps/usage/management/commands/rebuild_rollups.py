"""``manage.py rebuild_rollups``: compare rollups with raw events, or make them anew."""

from argparse import ArgumentParser
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.errors import MindWeaveError
from apps.core.tenancy import org_scope
from apps.usage.management.commands._arguments import org_of
from apps.usage.rebuild import check_rollups, rebuild_rollups


class Command(BaseCommand):
    help = "Make the rollups of whole days anew out of their raw events, or see with --check whether they agree."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", required=True, help="slug or id")
        parser.add_argument("--from", dest="first", required=True, type=date.fromisoformat, help="the first day")
        parser.add_argument("--to", dest="last", required=True, type=date.fromisoformat, help="the last day")
        parser.add_argument("--fewer", action="store_true", help="even where a day would have fewer events than before")
        parser.add_argument("--check", action="store_true", help="only compare; exit code 1 where something differs")

    def handle(self, *args: Any, **options: Any) -> None:
        days = {"org_id": org_of(options["org"]), "first": options["first"], "last": options["last"]}
        try:
            with org_scope(days["org_id"]):
                if options["check"]:
                    self._check(days)
                else:
                    self.stdout.write(f"Rebuilt out of {rebuild_rollups(**days, fewer=options['fewer']):,} events")
        except MindWeaveError as error:
            raise CommandError(str(error.detail or error.title)) from error

    def _check(self, days: dict[str, Any]) -> None:
        found = check_rollups(**days)
        for one in found:
            self.stdout.write(f"{one.day} {one.table} {one.measure}: {one.rollup:,} in the rollups, {one.raw:,} raw")
        if found:
            raise CommandError(f"{len(found)} sums differ", returncode=1)
        self.stdout.write("All sums agree")
