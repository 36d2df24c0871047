"""The engine's tables: dimensions, inbox, counted ids, raw events, rollups, sessions."""

from typing import Any

from django.db import migrations

from apps.usage.migrations._engine_sql import STEPS
from apps.usage.migrations._engine_state import MODELS


def make_partitions(apps: Any, schema_editor: Any) -> None:
    """Those of the coming days; from then on the drain and the scheduler make them."""
    from datetime import timedelta

    from apps.core import clock
    from apps.core.partitions import ensure_partitions

    first = (clock.now() - timedelta(days=35)).date()
    ensure_partitions("usage_rollup_minute", period="day", ahead=38, first=first)


class Migration(migrations.Migration):
    dependencies = [("usage", "0001_price_book")]

    operations = [
        *(migrations.RunSQL(sql=forward, reverse_sql=back) for forward, back in STEPS),
        migrations.RunPython(make_partitions, migrations.RunPython.noop),
        *MODELS,
    ]
