"""Imports: files of events on their way, the chunks of them that are counted, the lines that were refused."""

import django.db.models.deletion
from django.db import migrations, models

import apps.core.clock
import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("projects", "0003_key_version"),
        ("usage", "0009_reprice"),
    ]

    operations = [
        migrations.CreateModel(
            name="Import",
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
                ("created_at", models.DateTimeField(default=apps.core.clock.now, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("key_id", models.UUIDField(help_text="The key that its events count under.")),
                ("origin", models.CharField(choices=[("upload", "Upload"), ("command", "Command")], max_length=10)),
                ("name", models.CharField(help_text="The file's name, as it came.", max_length=200)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                (
                    "stored_as",
                    models.CharField(
                        blank=True, help_text="The file in the data directory, while kept.", max_length=40
                    ),
                ),
                (
                    "format",
                    models.CharField(blank=True, help_text="jsonl or csv; empty until it was looked at.", max_length=5),
                ),
                ("compression", models.CharField(blank=True, max_length=4)),
                ("size_bytes", models.BigIntegerField()),
                ("content_bytes", models.BigIntegerField(null=True)),
                ("content_sha256", models.BinaryField(null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("failure", models.TextField(blank=True, help_text="Why it failed, as a sentence.")),
                ("bytes_read", models.BigIntegerField(default=0)),
                ("lines_read", models.BigIntegerField(default=0)),
                ("accepted", models.BigIntegerField(default=0)),
                ("duplicates", models.BigIntegerField(default=0)),
                ("rejected", models.BigIntegerField(default=0)),
                ("repeated", models.BigIntegerField(default=0, help_text="Lines of chunks that were imported before.")),
                ("problems_kept", models.IntegerField(default=0)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="projects.project"
                    ),
                ),
            ],
            options={
                "ordering": ("-created_at", "-id"),
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ImportChunk",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("digest", models.BinaryField()),
                ("first_line", models.BigIntegerField()),
                ("events", models.IntegerField()),
                ("created_at", models.DateTimeField(default=apps.core.clock.now, editable=False)),
                (
                    "of",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="usage.import"),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
                (
                    "project",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="projects.project",
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="ImportProblem",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("line", models.BigIntegerField()),
                ("event_id", models.CharField(max_length=100, null=True)),
                ("code", models.CharField(max_length=64)),
                ("detail", models.TextField()),
                ("pointer", models.TextField(blank=True)),
                (
                    "of",
                    models.ForeignKey(
                        db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="usage.import"
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
                    ),
                ),
            ],
            options={
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(fields=["org", "-created_at", "-id"], name="usage_import_newest"),
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(
                condition=models.Q(("state__in", ("queued", "running"))),
                fields=["org", "created_at"],
                name="usage_import_unfinished",
            ),
        ),
        migrations.AddConstraint(
            model_name="import",
            constraint=models.UniqueConstraint(fields=("org", "project", "idempotency_key"), name="usage_import_once"),
        ),
        migrations.AddConstraint(
            model_name="importchunk",
            constraint=models.UniqueConstraint(fields=("project", "digest"), name="usage_import_chunk_once"),
        ),
        migrations.AddConstraint(
            model_name="importproblem",
            constraint=models.UniqueConstraint(fields=("of", "line"), name="usage_import_problem_line"),
        ),
    ]
