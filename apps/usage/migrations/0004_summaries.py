"""Summaries of flushes on their way to the bus: several flushes of an organisation become one event."""

from django.db import migrations, models

SUMMARIES = """
CREATE TABLE usage_summary (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL,
    data jsonb NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0003_price_periods")]

    operations = [
        migrations.RunSQL(sql=SUMMARIES, reverse_sql="DROP TABLE usage_summary"),
        migrations.CreateModel(
            name="Summary",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("org_id", models.UUIDField()),
                ("data", models.JSONField()),
            ],
            options={"db_table": "usage_summary", "managed": False, "verbose_name_plural": "summaries"},
        ),
    ]
