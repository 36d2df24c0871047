"""Repricings, each a row with its progress, resumed where it was broken off."""

from django.db import migrations, models

TABLES = """
CREATE TABLE usage_reprice (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    org_id uuid,
    model text NOT NULL DEFAULT '',
    start_at timestamptz,
    end_at timestamptz,
    only_unpriced boolean NOT NULL,
    reason text NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'completed', 'failed')),
    at_org integer NOT NULL DEFAULT 0,
    at_chunk bigint NOT NULL DEFAULT 0,
    at_day date,
    looked_at bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    left_alone bigint NOT NULL DEFAULT 0,
    cost_before numeric NOT NULL DEFAULT 0,
    cost_after numeric NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz
);
CREATE INDEX usage_reprice_open ON usage_reprice (created_at) WHERE state IN ('queued', 'running');
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0008_alarms")]

    operations = [
        migrations.RunSQL(TABLES, "DROP TABLE usage_reprice"),
        migrations.CreateModel(
            name="Reprice",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("org_id", models.UUIDField(null=True)),
                ("model", models.TextField()),
                ("start_at", models.DateTimeField(null=True)),
                ("end_at", models.DateTimeField(null=True)),
                ("only_unpriced", models.BooleanField()),
                ("reason", models.TextField()),
                ("state", models.TextField()),
                ("looked_at", models.BigIntegerField()),
                ("changed", models.BigIntegerField()),
                ("left_alone", models.BigIntegerField()),
                ("cost_before", models.DecimalField(decimal_places=0, max_digits=40)),
                ("cost_after", models.DecimalField(decimal_places=0, max_digits=40)),
                ("error", models.TextField()),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
            options={"db_table": "usage_reprice", "managed": False, "verbose_name": "repricing"},
        ),
    ]
