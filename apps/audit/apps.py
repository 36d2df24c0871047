from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "apps.audit"
    label = "audit"

    def ready(self) -> None:
        from apps.audit import (
            chain,
            checks,  # noqa: F401 - registers itself
            events,
            keys,
            metrics,
            peppered,
            personal,
            refusals,
            registry,
            services,
            signing,
            streams,
            system_stream,
        )
        from apps.audit.staff import audit_panel
        from apps.core import ports as core_ports
        from apps.core.registry import StaffOrgPanel, staff_org_panels
        from apps.core.rotation import register_rotation
        from apps.events import ports
        from apps.events.chores import register_chore

        ports.audit.set(services.record)
        events.register()
        metrics.register()
        peppered.register()
        personal.register()
        register_rotation("audit_key.sealed_key", keys.rotate_keys)
        register_rotation("audit_signing_key.private_pem", signing.rotate_private_keys)
        register_chore("audit.seal", chain.seal_all)
        register_chore("audit.deliver_streams", streams.deliver_due)
        register_chore("audit.deliver_to_operator", system_stream.deliver_to_operator)
        register_chore("audit.tell_repeated", refusals.tell_repeated)
        core_ports.refusals.set(refusals.note_refusal)
        registry.register_actions(
            {
                "audit.person_forgotten": "What the trail says of a person was made unreadable",
                "audit.org_forgotten": "What the trail says of an organisation's affairs was made unreadable",
                "audit.stream_created": "The audit log is sent to a receiver",
                "audit.stream_changed": "How the audit log is sent to a receiver changed",
                "audit.stream_removed": "The audit log is no longer sent to a receiver",
                "audit.retention_changed": "How long the audit log is kept changed",
                "audit.entries_deleted": "Entries of the audit log that were past their time were deleted",
                "audit.export_requested": "A file of entries of the audit log is to be made",
                "audit.exported": "Entries of the audit log were taken away as a file",
                "data.read": "Something sensitive was read (told once an hour)",
                "access.refused": "Something was refused for want of a right",
                "access.refused_foreign": "An organisation was asked for by somebody who is not its member",
                "audit.signing_key_created": "A new key signs the chains of the audit trail",
                "bus.dead_letter_replayed": "An event that could not be handled was put back in its queue",
                "bus.dead_letter_discarded": "An event that could not be handled was given up",
                "bus.subscription_paused": "Delivery of events to a subscription was stopped",
                "bus.subscription_resumed": "Delivery of events to a subscription was taken up again",
            }
        )
        staff_org_panels.register(StaffOrgPanel("audit", "Last entries of the audit trail", audit_panel, order=60))
