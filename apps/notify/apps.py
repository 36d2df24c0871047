from django.apps import AppConfig


class NotifyConfig(AppConfig):
    name = "apps.notify"
    label = "notify"

    def ready(self) -> None:
        from apps.notify import checks, personal, subscribers  # noqa: F401  (they register themselves)

        personal.register()
