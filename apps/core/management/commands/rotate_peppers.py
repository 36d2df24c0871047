"""``manage.py rotate_peppers``: how far the change to the first of ``TOKEN_PEPPERS`` is."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_datetime

from apps.core.crypto import pepper_ids
from apps.core.peppers import pepper_statuses
from apps.core.tenancy import system_scope


class Command(BaseCommand):
    help = "Tell how many tokens still depend on an older pepper; with --check fail while any do."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--since", help="since when the new pepper is the first (ISO 8601): tokens made after it are under it"
        )
        parser.add_argument("--check", action="store_true", help="end with an error while older peppers are needed")

    def handle(self, *args: Any, **options: Any) -> None:
        since = parse_datetime(options["since"]) if options["since"] else None
        if options["since"] and (since is None or since.tzinfo is None):
            raise CommandError("--since takes a moment with its zone, such as 2026-11-28T18:00:00Z")
        first, *older = pepper_ids()
        self.stdout.write(f"Current pepper {first}; older: {', '.join(older) or 'none'}")
        waiting = 0
        with system_scope("peppers are of the whole installation"):
            for store, status in pepper_statuses(since):
                self.stdout.write(f"{store.name}: {status.living} living, {status.older} may depend on an older pepper")
                if status.older:
                    self.stdout.write(f"  {store.remedy}")
                waiting += status.older
        if not waiting:
            self.stdout.write("The older peppers can be taken away.")
        elif options["check"]:
            raise CommandError(f"{waiting} may depend on an older pepper")
