"""``manage.py create_staff``: the first account of the staff admin, and any other."""

import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.context import bind
from apps.core.contracts import system_actor
from apps.core.errors import MindWeaveError
from apps.identity.leaked import is_leaked
from apps.identity.models import normalise_email
from apps.identity.selectors import user_by_email
from apps.identity.staff import admit_staff, dismiss_staff


def _new_password() -> str:
    """A password that nobody can guess; the list of leaked ones takes one in some thousands for one of its own."""
    while is_leaked(password := secrets.token_urlsafe(15)):
        pass
    return password


class Command(BaseCommand):
    help = (
        "Let a person into the staff admin, or take them off it with --remove. Somebody who is not registered is, with "
        "a password that is printed once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", help="the address that they sign in with")
        parser.add_argument("--name", default="", help="how they are called")
        way = parser.add_mutually_exclusive_group()
        way.add_argument("--password-stdin", action="store_true", help="take the password from standard input")
        way.add_argument("--remove", action="store_true", help="withdraw the staff's rights and end their sign-ins")

    def handle(self, *args: Any, **options: Any) -> None:
        with bind(actor=system_actor("create_staff")):
            try:
                self._remove(options["email"]) if options["remove"] else self._admit(**options)
            except MindWeaveError as error:
                raise CommandError(_sentence(error)) from error

    def _admit(self, *, email: str, name: str, password_stdin: bool, **_: Any) -> None:
        password, made = None, False
        if password_stdin:
            password = sys.stdin.readline().rstrip("\r\n")
        elif user_by_email(email) is None:
            password, made = _new_password(), True
        admit_staff(email=email, name=name, password=password)
        self.stdout.write(f"{normalise_email(email)} is staff now. The first visit of /admin/ sets up a second factor.")
        if made:
            self.stdout.write(f"Password, shown this once: {password}")

    def _remove(self, email: str) -> None:
        dismiss_staff(email=email)
        self.stdout.write(f"{normalise_email(email)} is not staff any more; their sign-ins have ended.")


def _sentence(error: MindWeaveError) -> str:
    return ". ".join([error.detail or error.title, *(problem["detail"] for problem in error.errors)])
