from django.db import migrations, models

import apps.core.clock
import apps.core.crypto
import apps.core.ids


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="EmailMessage",
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
                ("org_id", models.UUIDField(null=True)),
                ("to", models.EmailField(max_length=254)),
                ("template", models.TextField()),
                ("subject", models.TextField()),
                ("text", apps.core.crypto.EncryptedTextField()),
                ("html", apps.core.crypto.EncryptedTextField()),
                (
                    "status",
                    models.TextField(
                        choices=[("queued", "Queued"), ("sent", "Sent"), ("failed", "Failed")], default="queued"
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("error", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=apps.core.clock.now)),
                ("due_at", models.DateTimeField(default=apps.core.clock.now)),
                ("sent_at", models.DateTimeField(null=True)),
                ("correlation_id", models.TextField()),
            ],
            options={
                "verbose_name": "e-mail",
                "db_table": "notify_email",
                "abstract": False,
                "base_manager_name": "objects",
                "default_manager_name": "objects",
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("created_at"), descending=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="notify_email_recent",
                    ),
                    models.Index(
                        models.F("due_at"), condition=models.Q(("status", "queued")), name="notify_email_queued"
                    ),
                    models.Index(
                        models.F("to"), models.OrderBy(models.F("created_at"), descending=True), name="notify_email_to"
                    ),
                ],
            },
        ),
    ]
