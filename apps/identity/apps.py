from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "apps.identity"
    label = "identity"

    def ready(self) -> None:
        from apps.core.registry import NavItem, account_tabs
        from apps.identity import events, rotation  # noqa: F401 - they register what this app publishes and encrypts

        account_tabs.register(NavItem("security", "Security", "account_security", "shield-lock", order=20))
