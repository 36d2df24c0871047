"""The end of an organisation's life: its grace, its export, its erasure; and every short name that it ever had."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import apps.core.clock
import apps.core.ids


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0004_requires_mfa"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="OrgExport",
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
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("ready", "Ready"),
                            ("failed", "Failed"),
                            ("gone", "Gone"),
                        ],
                        default="queued",
                        max_length=8,
                    ),
                ),
                ("tables_done", models.PositiveIntegerField(default=0)),
                ("tables_total", models.PositiveIntegerField(default=0)),
                ("rows", models.BigIntegerField(default=0)),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("failure", models.CharField(blank=True, max_length=300)),
                ("seen_at", models.DateTimeField(default=apps.core.clock.now)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("expires_at", models.DateTimeField(blank=True, null=True)),
                ("downloads", models.PositiveIntegerField(default=0)),
            ],
            options={
                "verbose_name": "export of an organisation",
                "verbose_name_plural": "exports of organisations",
                "ordering": ("-created_at",),
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="OrgSlug",
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
                ("slug", models.SlugField(max_length=60, unique=True)),
                ("created_at", models.DateTimeField(default=apps.core.clock.now, editable=False)),
            ],
            options={
                "verbose_name": "short name",
                "ordering": ("-created_at",),
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="OrgTombstone",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ("deleted_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(default=apps.core.clock.now)),
                ("erased_at", models.DateTimeField(blank=True, null=True)),
                ("counts", models.JSONField(default=dict)),
            ],
            options={
                "verbose_name": "erased organisation",
                "ordering": ("-started_at",),
            },
        ),
        migrations.AddField(
            model_name="organization",
            name="erase_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="organization",
            name="erasing_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="organization",
            name="plan",
            field=models.CharField(
                default="free", help_text="What it allows, core.ports.plan_limits says.", max_length=40
            ),
        ),
        migrations.AddField(
            model_name="organization",
            name="status_before",
            field=models.CharField(blank=True, max_length=12),
        ),
        migrations.AddIndex(
            model_name="organization",
            index=models.Index(
                condition=models.Q(("erase_at__isnull", False)), fields=["erase_at"], name="accounts_org_to_erase"
            ),
        ),
        migrations.AddField(
            model_name="orgexport",
            name="org",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
            ),
        ),
        migrations.AddField(
            model_name="orgexport",
            name="requested_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="orgslug",
            name="org",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.organization"
            ),
        ),
        migrations.AddConstraint(
            model_name="orgexport",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["queued", "running"])),
                fields=("org",),
                name="accounts_export_one_at_a_time",
            ),
        ),
        # Every short name in use is its owner's from the beginning; what was deleted before has its grace from now on.
        migrations.RunSQL(
            """
            INSERT INTO accounts_orgslug (slug, org_id, created_at)
                SELECT slug, id, created_at FROM accounts_organization;
            UPDATE accounts_organization SET status_before = 'active', erase_at = now() + interval '30 days'
                WHERE status = 'deleted';
            """,
            migrations.RunSQL.noop,
        ),
    ]
