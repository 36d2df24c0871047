from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        from apps.accounts import events, notifications  # noqa: F401 - events registers what this app publishes
        from apps.accounts.permissions import RolePermissions
        from apps.core import ports
        from apps.core.registry import NavItem, nav, settings_tabs

        ports.permissions.set(RolePermissions())
        notifications.register()
        place = NavItem(
            "settings", "Settings", "settings", "settings", "Records", order=900, capability="org.read", shortcut="t"
        )
        nav.register(place)
        tab = NavItem("general", "General", "settings", "building", order=10, capability="org.read")
        settings_tabs.register(tab)
