"""What makes the engine's behaviour visible: shards about themselves, stalls, counts of the day, names, sessions told.

Sessions that are there already are history: they are told neither as started nor as ended, unless they go on.
"""

from typing import Any

from django.db import migrations, models

WATCH = """
CREATE TABLE usage_shard (
    shard smallint PRIMARY KEY,
    slots integer NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    flushed_at timestamptz,
    events_per_second real NOT NULL DEFAULT 0,
    ids bigint NOT NULL DEFAULT 0,
    segments integer NOT NULL DEFAULT 0,
    filter_bytes bigint NOT NULL DEFAULT 0,
    false_positives bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
CREATE TABLE usage_stall (
    shard smallint PRIMARY KEY,
    slots integer NOT NULL,
    seen_at timestamptz NOT NULL,
    told_at timestamptz
);
CREATE TABLE usage_day_tally (
    day date NOT NULL,
    org_id uuid NOT NULL,
    model text NOT NULL,
    events bigint NOT NULL,
    calls bigint NOT NULL,
    unpriced bigint NOT NULL,
    PRIMARY KEY (day, org_id, model)
) WITH (fillfactor = 50);
CREATE TABLE usage_name (
    org integer NOT NULL REFERENCES usage_org,
    kind smallint NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (org, kind, name)
);
"""
WATCH_BACK = "DROP TABLE usage_name, usage_day_tally, usage_stall, usage_shard"

# The indexes hold what there is to tell and nothing else; folding moves a row in and out of them by itself.
SESSIONS = """
ALTER TABLE usage_session ADD COLUMN opened smallint NOT NULL DEFAULT 1, ADD COLUMN ended_at timestamptz;
UPDATE usage_session SET ended_at = last_at;
ALTER TABLE usage_session ALTER COLUMN opened SET DEFAULT 0;
CREATE INDEX usage_session_news ON usage_session (org, id) WHERE opened = 0 OR last_at > ended_at;
CREATE INDEX usage_session_open ON usage_session (last_at) WHERE opened > 0 AND ended_at IS NULL;
"""
SESSIONS_BACK = """
DROP INDEX usage_session_open;
DROP INDEX usage_session_news;
ALTER TABLE usage_session DROP COLUMN ended_at, DROP COLUMN opened;
"""

# What a merged chunk was merged from, so that who reads new chunks in their order knows those that are not new.
UPTO = "ALTER TABLE usage_chunk ADD COLUMN upto bigint NOT NULL DEFAULT 0"
UPTO_BACK = "ALTER TABLE usage_chunk DROP COLUMN upto"


def _unmanaged(name: str, table: str, fields: list[tuple[str, Any]], **options: Any) -> migrations.CreateModel:
    return migrations.CreateModel(name=name, fields=fields, options={"managed": False, "db_table": table, **options})


class Migration(migrations.Migration):
    dependencies = [("usage", "0005_chunks")]

    operations = [
        migrations.RunSQL(WATCH, WATCH_BACK),
        migrations.RunSQL(SESSIONS, SESSIONS_BACK),
        migrations.RunSQL(UPTO, UPTO_BACK),
        _unmanaged(
            "Shard",
            "usage_shard",
            [
                ("shard", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("slots", models.IntegerField()),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("flushed_at", models.DateTimeField(null=True)),
                ("events_per_second", models.FloatField()),
                ("ids", models.BigIntegerField()),
                ("segments", models.IntegerField()),
                ("filter_bytes", models.BigIntegerField()),
                ("false_positives", models.BigIntegerField()),
            ],
            verbose_name="shard",
            verbose_name_plural="usage engine",
        ),
        _unmanaged(
            "Stall",
            "usage_stall",
            [
                ("shard", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("slots", models.IntegerField()),
                ("seen_at", models.DateTimeField()),
                ("told_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
