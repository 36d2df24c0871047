from django.apps import AppConfig
from django.conf import settings


class CoreConfig(AppConfig):
    name = "apps.core"
    label = "core"

    def ready(self) -> None:
        from apps.core import checks, describe, logging, telemetry  # noqa: F401 - checks registers itself

        logging.configure(level=settings.LOG_LEVEL, style=settings.LOG_FORMAT)
        telemetry.configure()
        describe.register()
