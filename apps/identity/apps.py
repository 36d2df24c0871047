from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "apps.identity"
    label = "identity"

    def ready(self) -> None:
        from apps.core import stepup
        from apps.core.registry import NavItem, account_tabs
        from apps.identity import book, events, peppered, personal, rotation  # noqa: F401 - they register what this app publishes and encrypts

        stepup.proofs.set(book)
        peppered.register()
        personal.register()
        account_tabs.register(NavItem("profile", "Profile", "account", "user", order=10))
        account_tabs.register(NavItem("password", "Password", "account_password", "key", order=15))
        account_tabs.register(NavItem("sessions", "Sign-ins", "account_sessions", "login", order=30))
        account_tabs.register(NavItem("security", "Security", "account_security", "shield-lock", order=20))
        account_tabs.register(NavItem("privacy", "Privacy", "account_privacy", "eye", order=90))
