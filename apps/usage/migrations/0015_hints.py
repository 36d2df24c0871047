"""Hints: which chunks of raw events can hold what (decision 0021). The job ``usage.hints`` makes those of what is stored."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

HINTS = """
CREATE TABLE usage_hint (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    org integer NOT NULL REFERENCES usage_org,
    drop_on date NOT NULL,
    bits smallint NOT NULL,
    has_ids boolean NOT NULL,
    chunks bigint[] NOT NULL,
    combos bytea STORAGE EXTERNAL NOT NULL,
    fence bytea STORAGE EXTERNAL NOT NULL,
    entries bytea STORAGE EXTERNAL NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX usage_hint_org_day ON usage_hint (org, drop_on);
CREATE INDEX usage_hint_day ON usage_hint (drop_on);
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0014_directory_changes")]

    operations = [
        migrations.RunSQL(HINTS, "DROP TABLE usage_hint"),
        migrations.CreateModel(
            name="Hint",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                ("org", models.IntegerField()),
                ("drop_on", models.DateField()),
                ("bits", models.SmallIntegerField()),
                ("has_ids", models.BooleanField()),
                ("chunks", ArrayField(models.BigIntegerField())),
                ("combos", models.BinaryField()),
                ("fence", models.BinaryField()),
                ("entries", models.BinaryField()),
            ],
            options={"db_table": "usage_hint", "managed": False},
        ),
    ]
