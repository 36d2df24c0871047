"""Which whos a session has events of: a search for others of it looks into nothing. Null: not known, or too many."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

_TABLES = {"session": "usage_session", "sessiondelta": "usage_session_delta"}


class Migration(migrations.Migration):
    dependencies = [("usage", "0030_packed_deltas")]
    operations = [
        migrations.RunSQL(
            "; ".join(f"ALTER TABLE {table} ADD COLUMN whos integer[]" for table in _TABLES.values())
            + "; ALTER TABLE usage_session_delta ALTER whos SET STATISTICS 0",
            "; ".join(f"ALTER TABLE {table} DROP COLUMN whos" for table in _TABLES.values()),
            state_operations=[
                migrations.AddField(model, "whos", ArrayField(models.IntegerField(), null=True)) for model in _TABLES
            ],
        )
    ]
