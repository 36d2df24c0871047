from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "apps.usage"
    label = "usage"
    verbose_name = "Usage"

    def ready(self) -> None:
        from apps.core.health import register_check
        from apps.core.metrics import register_collector
        from apps.core.registry import NavItem, StaffOrgPanel, nav, settings_tabs, staff_org_panels
        from apps.usage import audit_actions, events, notifications, orgdata, personal, subscriptions
        from apps.usage.api import describe, describe_otlp
        from apps.usage.staff import usage_panel, work_panel
        from apps.usage.telemetry import collect_engine
        from apps.usage.watch import drain_health

        events.register()
        subscriptions.register()
        notifications.register()
        audit_actions.register()
        orgdata.register()
        personal.register()
        describe.register()
        describe_otlp.register()
        register_collector("usage.engine", collect_engine)
        register_check("usage_drain", drain_health)
        for tab in (
            NavItem("tags", "Tags", "tags", "folder", order=40, capability="usage.read"),
            NavItem("prices", "Prices", "prices", "chart-bar", order=50, capability="price.read"),
        ):
            settings_tabs.register(tab)
        nav.register(
            NavItem("imports", "Imports", "imports", "upload", order=52, capability="usage.import", shortcut="i")
        )
        staff_org_panels.register(StaffOrgPanel("usage", "Usage", usage_panel, order=10))
        staff_org_panels.register(StaffOrgPanel("work", "Imports and repricings under way", work_panel, order=50))
