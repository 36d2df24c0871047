from typing import Any

from django.core.management.base import BaseCommand

from apps.scheduler.clockwork import sync_jobs


class Command(BaseCommand):
    help = "Bring the clock (django-celery-beat) in line with the jobs that the code declares; safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        counts = sync_jobs()
        self.stdout.write(f"{counts['declared']} jobs, {counts['changed']} changes")
