from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "apps.analytics"
    label = "analytics"

    def ready(self) -> None:
        from apps.analytics import subscribers  # noqa: F401 - subscribes
        from apps.core.registry import NavItem, nav

        nav.register(NavItem("usage", "Usage", "usage", "chart-bar", order=20, capability="usage.read"))
        nav.register(NavItem("costs", "Costs", "costs", "receipt-dollar", order=26, capability="usage.read"))
        nav.register(NavItem("sessions", "Sessions", "sessions", "messages", order=22, capability="usage.read"))
        nav.register(NavItem("events", "Events", "events", "list-details", order=24, capability="usage.read"))
        nav.register(NavItem("home", "Home", "home", "layout-dashboard", order=10, capability="org.read"))
        nav.register(NavItem("connect", "Connect", "connect", "terminal-2", order=50, capability="project.read"))
