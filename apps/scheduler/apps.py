from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class SchedulerConfig(AppConfig):
    name = "apps.scheduler"
    label = "scheduler"

    def ready(self) -> None:
        from apps.audit import ports as audit_ports
        from apps.audit.registry import register_actions
        from apps.scheduler import background, metrics, tasks

        audit_ports.export_queue.set(lambda export_id: background.enqueue(tasks.export_audit, export_id=str(export_id)))

        register_actions(
            {
                "job.run_requested": "Staff started a job outside its schedule",
                "job.enabled": "A job was put back under the clock",
                "job.disabled": "A job was taken off the clock",
            }
        )
        metrics.register()
        autodiscover_modules("jobs")
