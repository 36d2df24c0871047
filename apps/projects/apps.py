from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "apps.projects"
    label = "projects"

    def ready(self) -> None:
        from apps.core.registry import NavItem, nav
        from apps.projects import events  # noqa: F401 - registers what this app publishes and records

        item = NavItem("projects", "Projects and keys", "projects", "folder", order=40, capability="project.read")
        nav.register(item)
