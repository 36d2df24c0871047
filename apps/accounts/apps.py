from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "apps.accounts"
    label = "accounts"

    def ready(self) -> None:
        from apps.accounts import events, notifications, orgdata, personal, subscribers  # noqa: F401 - some register themselves
        from apps.accounts.access import member_entries
        from apps.accounts.factors import OrgFactorPolicy
        from apps.accounts.permissions import RolePermissions
        from apps.accounts.selectors import OwnOrganizations
        from apps.accounts.staff import members_panel
        from apps.core import ports
        from apps.core.access import AccessSource, register_source
        from apps.core.registry import NavItem, StaffOrgPanel, account_tabs, nav, settings_tabs, staff_org_panels
        from apps.identity.ports import factor_policy, own_organizations

        ports.permissions.set(RolePermissions())
        notifications.register()
        orgdata.register()
        personal.register()
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
        trail = NavItem("audit", "Audit log", "audit", "lock", order=800, capability="audit.read")
        settings_tabs.register(trail)
        # Last of all tabs: what it holds is rarely wanted.
        settings_tabs.register(
            NavItem("danger", "Leave and delete", "settings_danger", "alert-triangle", order=990, capability="org.read")
        )
        account_tabs.register(NavItem("organisations", "Organisations", "account_organisations", "building", order=60))
        settings_tabs.register(
            NavItem("security", "Security", "settings_security", "shield-lock", order=70, capability="org.read")
        )
        factor_policy.set(OrgFactorPolicy())
        own_organizations.set(OwnOrganizations())
        staff_org_panels.register(StaffOrgPanel("members", "Members", members_panel, order=20))
