"""Chunks without hints are written down as they are noticed, so that none of those kept is looked through again."""

from django.db import migrations, models

UNHINTED = """
CREATE TABLE usage_unhinted (
    chunk bigint PRIMARY KEY,
    org integer NOT NULL,
    drop_on date NOT NULL,
    events integer NOT NULL,
    since timestamptz NOT NULL
);
CREATE INDEX usage_unhinted_org_day ON usage_unhinted (org, drop_on);
CREATE TABLE usage_hint_mark (
    id smallint PRIMARY KEY CHECK (id = 1),
    upto bigint NOT NULL,
    given bigint NOT NULL,
    horizon xid8 NOT NULL
);
-- The first look that goes anywhere is at all that is stored.
INSERT INTO usage_hint_mark VALUES (1, 0, 0, '0');
-- Where the newest chunks lie; it has no entry for each row.
CREATE INDEX usage_chunk_new ON usage_chunk USING brin (id) WITH (pages_per_range = 16, autosummarize = on);
"""
BACK = """
DROP INDEX usage_chunk_new;
DROP TABLE usage_hint_mark;
DROP TABLE usage_unhinted;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0017_names_by_digest")]

    operations = [
        migrations.RunSQL(UNHINTED, BACK),
        migrations.CreateModel(
            name="Unhinted",
            fields=[
                ("chunk", models.BigIntegerField(primary_key=True, serialize=False)),
                ("org", models.IntegerField()),
                ("drop_on", models.DateField()),
                ("events", models.IntegerField()),
                ("since", models.DateTimeField()),
            ],
            options={
                "verbose_name": "chunk without a hint",
                "verbose_name_plural": "chunks without hints",
                "db_table": "usage_unhinted",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="HintMark",
            fields=[
                ("id", models.SmallIntegerField(primary_key=True, serialize=False)),
                ("upto", models.BigIntegerField()),
                ("given", models.BigIntegerField()),
            ],
            options={"db_table": "usage_hint_mark", "managed": False},
        ),
    ]
