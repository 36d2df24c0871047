from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "apps.identity"
    label = "identity"

    def ready(self) -> None:
        from apps.identity import events  # noqa: F401 - registers what this app publishes and records
