"""What each project has in a session that several projects used (decision 0022).

Sessions that went over several projects before are not taken apart: what was counted until now is the first one's.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

from apps.usage.migrations._engine_sql import SESSION_MEASURES

FORWARD = f"""
ALTER TABLE usage_session ADD COLUMN mixed smallint NOT NULL DEFAULT 0;
CREATE TABLE usage_session_part (
    session bigint NOT NULL,
    org integer NOT NULL REFERENCES usage_org,
    project uuid NOT NULL,
    who integer NOT NULL,
    models text[] NOT NULL, {SESSION_MEASURES},
    PRIMARY KEY (org, session, project)
) WITH (fillfactor = 80);
CREATE INDEX usage_session_part_org_project ON usage_session_part (org, project);
"""
BACKWARD = "DROP TABLE usage_session_part; ALTER TABLE usage_session DROP COLUMN mixed"
_COUNTS = ("events", "calls", "tool_calls", "errors")
_LARGE = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nano")


class Migration(migrations.Migration):
    dependencies = [("usage", "0015_hints")]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.AddField(model_name="session", name="mixed", field=models.SmallIntegerField()),
        migrations.CreateModel(
            name="SessionPart",
            fields=[
                ("org", models.IntegerField()),
                ("who", models.IntegerField()),
                ("started_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                *((name, models.IntegerField()) for name in _COUNTS),
                *((name, models.BigIntegerField()) for name in _LARGE),
                ("session", models.BigIntegerField(primary_key=True, serialize=False)),
                ("project", models.UUIDField()),
                ("models", ArrayField(models.TextField())),
            ],
            options={"db_table": "usage_session_part", "managed": False},
        ),
    ]
