from django.apps import AppConfig


class ProjectsConfig(AppConfig):
    name = "apps.projects"
    label = "projects"

    def ready(self) -> None:
        from apps.core.registry import NavItem, nav
        from apps.projects import events, notifications  # noqa: F401 - events registers what this app publishes

        notifications.register()
        item = NavItem(
            "projects", "Projects and keys", "projects", "folder", order=40, capability="project.read", shortcut="p"
        )
        nav.register(item)
