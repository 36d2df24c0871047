"""A session's delta names all its models: one row a session and flush, where each model had one."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

CHANGE = (
    "ALTER TABLE usage_session_delta ALTER COLUMN model TYPE text[]"
    " USING CASE model WHEN '' THEN '{}'::text[] ELSE ARRAY[model] END;"
    "ALTER TABLE usage_session_delta RENAME COLUMN model TO models"
)
# A row for each model, the sums in the first of them.
BACK = (
    "ALTER TABLE usage_session_delta RENAME COLUMN models TO model;"
    "INSERT INTO usage_session_delta (session, org, session_id, who, model, started_at, last_at, events, calls,"
    " tool_calls, errors, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cost_nano)"
    " SELECT session, org, session_id, who, ARRAY[m], started_at, last_at, 0, 0, 0, 0, 0, 0, 0, 0, 0"
    " FROM usage_session_delta, unnest(model[2:]) AS m;"
    "ALTER TABLE usage_session_delta ALTER COLUMN model TYPE text USING coalesce(model[1], '')"
)


class Migration(migrations.Migration):
    dependencies = [("usage", "0028_without_references")]
    operations = [
        migrations.RunSQL(
            CHANGE,
            BACK,
            state_operations=[
                migrations.RemoveField("sessiondelta", "model"),
                migrations.AddField("sessiondelta", "models", ArrayField(models.TextField())),
            ],
        )
    ]
