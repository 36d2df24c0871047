"""The Celery application: `celery -A mindweave worker` and `beat`."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")

app = Celery("mindweave")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
