from django.db import migrations, models

import apps.core.clock
import apps.core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="JobState",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("description", models.TextField(blank=True, default="")),
                ("schedule", models.TextField()),
                ("queue", models.TextField()),
                ("is_enabled", models.BooleanField(default=True)),
                ("is_declared", models.BooleanField(default=True)),
            ],
            options={
                "verbose_name": "job",
                "db_table": "scheduler_job",
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="JobRun",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=apps.core.ids.UUID7(),
                        default=apps.core.ids.uuid7,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("job", models.TextField()),
                (
                    "status",
                    models.TextField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("lost", "Lost"),
                            ("skipped", "Skipped"),
                        ]
                    ),
                ),
                ("trigger", models.TextField(choices=[("clock", "Clock"), ("staff", "Staff"), ("retry", "Retry")])),
                ("attempt", models.PositiveSmallIntegerField(default=1)),
                ("created_at", models.DateTimeField(default=apps.core.clock.now)),
                ("due_at", models.DateTimeField(default=apps.core.clock.now)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("result", models.JSONField(null=True)),
                ("error", models.TextField(blank=True, default="")),
                ("worker", models.TextField(blank=True, default="")),
                ("requested_by", models.TextField(blank=True, default="")),
                ("correlation_id", models.TextField()),
            ],
            options={
                "verbose_name": "run",
                "db_table": "scheduler_run",
                "indexes": [
                    models.Index(
                        models.F("job"),
                        models.OrderBy(models.F("created_at"), descending=True),
                        name="scheduler_run_job",
                    ),
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="scheduler_run_recent",
                    ),
                    models.Index(
                        models.F("status"),
                        models.F("due_at"),
                        condition=models.Q(("status__in", ["queued", "running"])),
                        name="scheduler_run_open",
                    ),
                ],
            },
        ),
    ]
