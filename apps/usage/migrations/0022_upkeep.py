"""Work beside the counting that fails is told of, and so are batches on which PostgreSQL itself ends."""

from django.db import migrations, models

UPKEEP = """
CREATE TABLE usage_upkeep (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    shard smallint NOT NULL,
    work text NOT NULL,
    since timestamptz NOT NULL,
    reason text NOT NULL,
    told_at timestamptz,
    ended_at timestamptz,
    UNIQUE (shard, work)
);
-- Trials of inbox rows that had begun and that nothing was heard of: batch 0 stands for several together.
CREATE TABLE usage_drain_trial (
    slot smallint NOT NULL,
    batch bigint NOT NULL,
    begun integer NOT NULL,
    PRIMARY KEY (slot, batch)
);
"""
BACK = "DROP TABLE usage_drain_trial, usage_upkeep"


class Migration(migrations.Migration):
    dependencies = [("usage", "0021_hints_of_whos")]

    operations = [
        migrations.RunSQL(UPKEEP, BACK),
        migrations.CreateModel(
            name="Upkeep",
            fields=[
                ("id", models.IntegerField(primary_key=True, serialize=False)),
                ("shard", models.SmallIntegerField()),
                ("work", models.TextField()),
                ("since", models.DateTimeField()),
                ("reason", models.TextField()),
                ("told_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name": "work that fails",
                "verbose_name_plural": "work that fails",
                "db_table": "usage_upkeep",
                "managed": False,
            },
        ),
    ]
