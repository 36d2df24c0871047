from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "apps.projects"
    label = "projects"

    def ready(self) -> None:
        from apps.accounts.ports import keys_of_members
        from apps.core.access import AccessSource, access_facts, register_source
        from apps.core.registry import (
            NavItem,
            StaffOrgPanel,
            nav,
            nav_grants,
            project_tabs,
            settings_tabs,
            staff_org_panels,
        )
        from apps.projects import events, notifications, peppered, personal  # noqa: F401 - events registers what this app publishes
        from apps.projects.access_facts import key_entries, project_facts, service_account_entries
        from apps.projects.departures import DepartingKeys
        from apps.projects.permissions import check_place, given_somewhere
        from apps.projects.staff import projects_panel
        from apps.teams.ports import place_checks

        notifications.register()
        peppered.register()
        personal.register()
        keys_of_members.set(DepartingKeys())
        item = NavItem(
            "projects", "Projects and keys", "projects", "folder", order=40, capability="project.read", shortcut="p",
            granted=True,
        )  # fmt: skip
        nav_grants.append(given_somewhere)
        nav.register(item)
        settings_tabs.register(NavItem("keys", "API keys", "keys", "key", order=35, capability="key.read"))
        for tab in (
            NavItem("keys", "Keys", "project", "key", order=10, capability="project.read"),
            NavItem("usage", "Usage", "project_usage", "chart-bar", order=20, capability="usage.read"),
            NavItem("settings", "Settings", "project_settings", "settings", order=30, capability="project.read"),
            NavItem("access", "Access", "project_access", "lock", order=40, capability="project.manage"),
        ):
            project_tabs.register(tab)
        place_checks.append(check_place)
        access_facts.append(project_facts)
        for source in (
            AccessSource("keys", "Keys", key_entries, order=20, empty="No key of a person works that is like that."),
            AccessSource(
                "service_accounts", "Service accounts", service_account_entries, order=30,
                empty="No service account works that is like that.",
            ),
        ):  # fmt: skip
            register_source(source)
        staff_org_panels.register(StaffOrgPanel("projects", "Projects", projects_panel, order=30))
