from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "apps.events"
    label = "events"

    def ready(self) -> None:
        from apps.events import checks, metrics  # noqa: F401  (checks register themselves)

        metrics.register()
