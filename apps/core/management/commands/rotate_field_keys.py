"""``manage.py rotate_field_keys``: every stored secret under the first of ``FIELD_ENCRYPTION_KEYS``."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.core.crypto import DecryptionError
from apps.core.rotation import rotate_all


class Command(BaseCommand):
    help = "Encrypt every stored secret anew under the first key; after it the older keys may be taken away."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = rotate_all()
        except DecryptionError as error:
            raise CommandError(f"{error}; add the key that made it to the end of the list and repeat") from error
        for column, count in sorted(done.items()):
            self.stdout.write(f"{column}: {count}")
