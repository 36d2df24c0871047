from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        from apps.accounts import events  # noqa: F401 - registers what this app publishes and records
        from apps.accounts.permissions import RolePermissions
        from apps.core import ports

        ports.permissions.set(RolePermissions())
