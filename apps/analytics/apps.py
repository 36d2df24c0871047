from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "apps.analytics"
    label = "analytics"

    def ready(self) -> None:
        from apps.analytics import subscribers  # noqa: F401 - subscribes
        from apps.core.registry import NavItem, nav

        nav.register(NavItem("home", "Home", "home", "layout-dashboard", order=10, capability="org.read"))
        nav.register(NavItem("connect", "Connect", "connect", "terminal-2", order=50, capability="project.read"))
