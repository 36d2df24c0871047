"""The engine's tables: dimensions, inbox, counted ids, raw events, rollups, sessions."""

from typing import Any

from django.db import migrations

from apps.usage.migrations._engine_sql import STEPS
from apps.usage.migrations._engine_state import MODELS


def make_partitions(apps: Any, schema_editor: Any) -> None:
    """Those of the coming days; from then on the drain and the scheduler make them."""
    from apps.usage.drain.fold import keep_partitions

    keep_partitions()


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_price_book")]

    operations = [
        *(migrations.RunSQL(sql=forward, reverse_sql=back) for forward, back in STEPS),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
        *MODELS,
    ]
