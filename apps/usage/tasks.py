"""What a worker does for the usage engine; Celery looks for it here."""

from apps.usage.imports.job import run_imports

__all__ = ["run_imports"]
