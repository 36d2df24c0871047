from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "apps.audit"
    label = "audit"

    def ready(self) -> None:
        from apps.audit import registry, services
        from apps.audit.staff import audit_panel
        from apps.core.registry import StaffOrgPanel, staff_org_panels
        from apps.events import ports

        ports.audit.set(services.record)
        registry.register_actions(
            {
                "bus.dead_letter_replayed": "An event that could not be handled was put back in its queue",
                "bus.dead_letter_discarded": "An event that could not be handled was given up",
                "bus.subscription_paused": "Delivery of events to a subscription was stopped",
                "bus.subscription_resumed": "Delivery of events to a subscription was taken up again",
            }
        )
        staff_org_panels.register(StaffOrgPanel("audit", "Last entries of the audit trail", audit_panel, order=60))
