"""``manage.py generate_secret``: a value for SECRET_KEY, TOKEN_PEPPERS, FIELD_ENCRYPTION_KEYS and their like."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.crypto import new_token

BITS = 384


class Command(BaseCommand):
    help = "Print random secrets of 384 bits, one a line; nothing is kept."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--count", type=int, default=1, help="how many (1 to 100)")

    def handle(self, *args: Any, **options: Any) -> None:
        if not 1 <= options["count"] <= 100:
            raise CommandError("--count is from 1 to 100")
        for _ in range(options["count"]):
            self.stdout.write(new_token(BITS))
