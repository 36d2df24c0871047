"""Batches that the drain cannot count are set aside, whole, so that it goes on with the others."""

from django.db import migrations, models

SET_ASIDE = """
-- At how many starts in a row a slot's oldest row was the same.
CREATE TABLE usage_drain_start (
    slot smallint PRIMARY KEY,
    oldest bigint NOT NULL,
    starts integer NOT NULL
);
CREATE TABLE usage_set_aside (
    id bigint PRIMARY KEY,
    slot smallint NOT NULL,
    org_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    events integer NOT NULL,
    frames bytea STORAGE EXTERNAL NOT NULL,
    reason text NOT NULL,
    set_aside_at timestamptz NOT NULL
);
CREATE INDEX usage_set_aside_org ON usage_set_aside (org_id, received_at);
"""
BACK = """
INSERT INTO usage_inbox (slot, org_id, received_at, events, frames)
SELECT slot, org_id, received_at, events, frames FROM usage_set_aside ORDER BY id;
DROP TABLE usage_set_aside;
DROP TABLE usage_drain_start;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0019_segment_pieces")]

    operations = [
        migrations.RunSQL(SET_ASIDE, BACK),
        migrations.CreateModel(
            name="SetAside",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("slot", models.SmallIntegerField()),
                ("org_id", models.UUIDField()),
                ("received_at", models.DateTimeField()),
                ("events", models.IntegerField()),
                ("frames", models.BinaryField()),
                ("reason", models.TextField()),
                ("set_aside_at", models.DateTimeField()),
            ],
            options={
                "verbose_name": "batch set aside",
                "verbose_name_plural": "batches set aside",
                "db_table": "usage_set_aside",
                "managed": False,
            },
        ),
    ]
