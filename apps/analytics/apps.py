from typing import Any

from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "apps.analytics"
    label = "analytics"

    def ready(self) -> None:
        from apps.analytics import audit_actions, personal, subscribers  # noqa: F401 - register themselves
        from apps.analytics.key_usage import LastDays
        from apps.analytics.saved import default_queries
        from apps.core.registry import NavItem, nav, nav_queries
        from apps.projects.ports import usage_reader

        personal.register()
        usage_reader.set(LastDays())
        nav_queries.append(default_queries)
        usage: dict[str, Any] = {"capability": "usage.read", "granted": True}
        nav.register(NavItem("usage", "Usage", "usage", "chart-bar", order=20, shortcut="u", **usage))
        nav.register(NavItem("costs", "Costs", "costs", "receipt-dollar", order=26, shortcut="c", **usage))
        nav.register(NavItem("sessions", "Sessions", "sessions", "messages", order=22, shortcut="s", **usage))
        nav.register(NavItem("events", "Events", "events", "list-details", order=24, shortcut="e", **usage))
        nav.register(NavItem("home", "Home", "home", "layout-dashboard", order=10, capability="org.read", shortcut="h"))
        nav.register(NavItem("connect", "Connect", "connect", "terminal-2", order=50, capability="project.read"))
