from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "apps.projects"
    label = "projects"

    def ready(self) -> None:
        from apps.core.registry import NavItem, StaffOrgPanel, nav, staff_org_panels
        from apps.projects import events  # noqa: F401 - registers what this app publishes and records
        from apps.projects.staff import projects_panel

        item = NavItem("projects", "Projects and keys", "projects", "folder", order=40, capability="project.read")
        nav.register(item)
        staff_org_panels.register(StaffOrgPanel("projects", "Projects", projects_panel, order=30))
