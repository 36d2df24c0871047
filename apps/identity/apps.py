from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "apps.identity"
    label = "identity"

    def ready(self) -> None:
        from apps.core import stepup
        from apps.identity import book, events, rotation  # noqa: F401 - they register what this app publishes and encrypts

        stepup.proofs.set(book)
