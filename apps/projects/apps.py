from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "apps.projects"
    label = "projects"

    def ready(self) -> None:
        from apps.core.registry import NavItem, StaffOrgPanel, nav, staff_org_panels
        from apps.projects import events, notifications  # noqa: F401 - events registers what this app publishes
        from apps.projects.permissions import check_place
        from apps.projects.staff import projects_panel
        from apps.teams.ports import place_checks

        notifications.register()
        item = NavItem(
            "projects", "Projects and keys", "projects", "folder", order=40, capability="project.read", shortcut="p"
        )
        nav.register(item)
        place_checks.append(check_place)
        staff_org_panels.register(StaffOrgPanel("projects", "Projects", projects_panel, order=30))
