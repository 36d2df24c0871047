"""Where people and what they do meet in too many ways for a hint's combinations, each who has entries of its own."""

from django.db import migrations, models

ADD = """
ALTER TABLE usage_hint ADD COLUMN who_fence bytea, ADD COLUMN who_entries bytea,
    ALTER COLUMN who_fence SET STORAGE EXTERNAL, ALTER COLUMN who_entries SET STORAGE EXTERNAL;
"""
BACK = "ALTER TABLE usage_hint DROP COLUMN who_fence, DROP COLUMN who_entries"


class Migration(migrations.Migration):
    dependencies = [("usage", "0020_set_aside")]

    operations = [
        migrations.RunSQL(
            ADD,
            BACK,
            state_operations=[
                migrations.AddField("hint", "who_fence", models.BinaryField(null=True)),
                migrations.AddField("hint", "who_entries", models.BinaryField(null=True)),
            ],
        ),
    ]
