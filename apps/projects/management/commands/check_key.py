"""``manage.py check_key``: whether strings are API keys of ours, and with ``--online`` which."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from apps.accounts.selectors import org_names
from apps.projects.selectors import key_of_token, project_names
from apps.projects.tokens import display_prefix, is_well_formed


class Command(BaseCommand):
    help = (
        "Read keys from standard input, one a line, and say of each whether it is well formed (prefix and checksum);"
        " with --online also which key it is. A key is never printed whole."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--online", action="store_true", help="look into the database too")

    def handle(self, *args: Any, **options: Any) -> None:
        found = 0
        for line in sys.stdin:
            token = line.strip()
            if not token:
                continue
            if not is_well_formed(token):
                self.stdout.write(f"{token[:9]}…: no API key (prefix, length or checksum)")
                continue
            found += 1
            self.stdout.write(f"{display_prefix(token)}…: {self._which(token) if options['online'] else 'well formed'}")
        if not found:
            sys.exit(1)

    def _which(self, token: str) -> str:
        key = key_of_token(token)
        if key is None:
            return "well formed, and no key of this installation"
        names = project_names(key.org_id)
        leaked = ", reported as leaked" if key.leaked_at else ""
        org = org_names([key.org_id]).get(key.org_id, key.org_id)
        where = f"project {names.get(key.project_id)!r}, organisation {org!r}"
        return f"{key.name!r} of {where}: {key.state}{leaked} ({key.id})"
