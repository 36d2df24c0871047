"""The Celery application: `celery -A mindweave worker` and `beat`."""

import gc
import os
from typing import Any

from celery import Celery
from celery.signals import worker_before_create_process, worker_process_init

from mindweave.process import begin

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")

app = Celery("mindweave")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@worker_process_init.connect
def _begin(**_: Any) -> None:
    begin()


@worker_before_create_process.connect
def _share(**_: Any) -> None:
    """What the parent has loaded, the collector of a child need not look through, which would copy it page by page."""
    gc.freeze()
