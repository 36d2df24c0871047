"""Each block of hints says how it is written, so that a process of another version can leave alone what it cannot read."""

from django.db import migrations, models

# What older versions write, whose statements do not name the column, is format 1.
ADD = "ALTER TABLE usage_hint ADD COLUMN format smallint NOT NULL DEFAULT 1"
BACK = "ALTER TABLE usage_hint DROP COLUMN format"


class Migration(migrations.Migration):
    dependencies = [("usage", "0023_small_samples")]

    operations = [
        migrations.RunSQL(
            ADD,
            BACK,
            state_operations=[migrations.AddField("hint", "format", models.SmallIntegerField(default=1))],
        ),
    ]
