"""Days summed by what alone and by who alone, a tenth of the rows and less; and when the past of an organisation changed.

A question about models reads no people, one about people no models: most pages ask one of the two (decision 0011).
"""

from django.db import migrations, models

from apps.usage.migrations._engine_sql import MEASURES

_NAMES = (
    "events, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens, cache_write_1h_tokens,"
    " web_searches, cost_nano, reported_nano, unpriced, latency_count, latency_ms, latency_hist"
)
_SUMS = ", ".join(
    f"sum({name.strip()})" if name.strip() != "latency_hist" else "string_agg(latency_hist, ''::bytea)"
    for name in _NAMES.split(",")
)
FORWARD = f"""
ALTER TABLE usage_org ADD COLUMN past_version bigint NOT NULL DEFAULT 0;
CREATE TABLE usage_rollup_day_what (day date NOT NULL, org integer NOT NULL, what integer NOT NULL, {MEASURES});
CREATE TABLE usage_rollup_day_who (
    day date NOT NULL, org integer NOT NULL, who integer NOT NULL, event_type text NOT NULL, status text NOT NULL,
    {MEASURES}
);
INSERT INTO usage_rollup_day_what (day, org, what, {_NAMES})
SELECT day, org, what, {_SUMS} FROM usage_rollup_day GROUP BY day, org, what;
INSERT INTO usage_rollup_day_who (day, org, who, event_type, status, {_NAMES})
SELECT d.day, d.org, d.who, t.event_type, t.status, {_SUMS}
FROM usage_rollup_day d JOIN usage_what t ON t.id = d.what GROUP BY d.day, d.org, d.who, t.event_type, t.status;
CREATE INDEX usage_rollup_day_what_org ON usage_rollup_day_what (org, day);
CREATE INDEX usage_rollup_day_who_org ON usage_rollup_day_who (org, day);
"""
BACKWARD = """
DROP TABLE usage_rollup_day_what, usage_rollup_day_who;
ALTER TABLE usage_org DROP COLUMN past_version;
"""


def _fields(*own: tuple[str, models.Field]) -> list[tuple[str, models.Field]]:
    large = {"input_tokens", "output_tokens", "cost_nano", "reported_nano", "latency_ms"}
    measures: list[tuple[str, models.Field]] = []
    for name in (part.strip() for part in _NAMES.split(",")):
        if name == "latency_hist":
            measures.append((name, models.BinaryField()))
        elif name in large or name.startswith("cache_"):
            measures.append((name, models.BigIntegerField()))
        else:
            measures.append((name, models.IntegerField()))
    return [
        ("org", models.IntegerField()),
        *own,
        *measures,
        ("day", models.DateField(primary_key=True, serialize=False)),
    ]


class Migration(migrations.Migration):
    dependencies = [("usage", "0012_inbox_vacuum_at_once")]

    operations = [
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.AddField(model_name="org", name="past_version", field=models.BigIntegerField()),
        migrations.CreateModel(
            name="RollupDayWhat",
            fields=_fields(("what", models.IntegerField())),
            options={"db_table": "usage_rollup_day_what", "managed": False},
        ),
        migrations.CreateModel(
            name="RollupDayWho",
            fields=_fields(
                ("who", models.IntegerField()), ("event_type", models.TextField()), ("status", models.TextField())
            ),
            options={"db_table": "usage_rollup_day_who", "managed": False},
        ),
    ]
