"""Runs of counted ids consist of pieces with ranges of their own; a shard says when its filter is too small.

Rows from before are runs by themselves. Their first and last key are unknown, which means: any.
"""

from django.db import migrations, models

PIECES = """
ALTER TABLE usage_id_segment ADD COLUMN run bigint, ADD COLUMN first_key bigint, ADD COLUMN last_key bigint;
ALTER TABLE usage_shard ADD COLUMN filter_full boolean NOT NULL DEFAULT false;
"""
BACK = """
ALTER TABLE usage_shard DROP COLUMN filter_full;
ALTER TABLE usage_id_segment DROP COLUMN run, DROP COLUMN first_key, DROP COLUMN last_key;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0018_unhinted")]

    operations = [
        migrations.RunSQL(PIECES, BACK),
        migrations.AddField("idsegment", "run", models.BigIntegerField(null=True)),
        migrations.AddField("idsegment", "first_key", models.BigIntegerField(null=True)),
        migrations.AddField("idsegment", "last_key", models.BigIntegerField(null=True)),
        migrations.AddField("shard", "filter_full", models.BooleanField(default=False)),
    ]
