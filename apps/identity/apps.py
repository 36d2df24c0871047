from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "apps.identity"
    label = "identity"

    def ready(self) -> None:
        from apps.identity import events, rotation  # noqa: F401 - they register what this app publishes and encrypts
