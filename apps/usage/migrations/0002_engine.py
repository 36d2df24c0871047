"""The engine's tables: dimensions, inbox, counted ids, raw events, rollups, sessions."""

from django.db import migrations

from apps.usage.migrations._engine_sql import STEPS

MODELS = []


class Migration(migrations.Migration):
    dependencies = []

    operations = [migrations.RunSQL(sql=forward, reverse_sql=back) for forward, back in STEPS] + MODELS
