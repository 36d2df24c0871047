from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        from apps.accounts import events, notifications  # noqa: F401 - events registers what this app publishes
        from apps.accounts.access import member_entries
        from apps.accounts.permissions import RolePermissions
        from apps.accounts.staff import members_panel
        from apps.core import ports
        from apps.core.access import AccessSource, register_source
        from apps.core.registry import NavItem, StaffOrgPanel, nav, settings_tabs, staff_org_panels

        ports.permissions.set(RolePermissions())
        notifications.register()
        place = NavItem(
            "settings", "Settings", "settings", "settings", "Records", order=900, capability="org.read", shortcut="t"
        )
        nav.register(place)
        tab = NavItem("general", "General", "settings", "building", order=10, capability="org.read")
        settings_tabs.register(tab)
        settings_tabs.register(NavItem("roles", "Roles", "roles", "shield-lock", order=25, capability="member.read"))
        review = NavItem("access", "Access review", "access_review", "eye", order=70, capability="access.review")
        settings_tabs.register(review)
        register_source(AccessSource("members", "Members", member_entries, order=10, empty="No member is like that."))
        staff_org_panels.register(StaffOrgPanel("members", "Members", members_panel, order=20))
