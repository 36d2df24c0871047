"""The inbox is vacuumed without pauses: it is small when that is done often, and grows past all memory when it is not.

PostgreSQL's own vacuum rests for 2 ms after each 200 pages or so; at 100,000 events a second the rests were longer than
the work, and what was counted took room faster than it was given back.
"""

from django.db import migrations

_SLOTS = range(8)
_OPTIONS = ("autovacuum_vacuum_cost_delay", "toast.autovacuum_vacuum_cost_delay")
FORWARD = "".join(
    f"ALTER TABLE usage_inbox_{slot} SET ({', '.join(f'{name} = 0' for name in _OPTIONS)});\n" for slot in _SLOTS
)
BACKWARD = "".join(f"ALTER TABLE usage_inbox_{slot} RESET ({', '.join(_OPTIONS)});\n" for slot in _SLOTS)


class Migration(migrations.Migration):
    dependencies = [("usage", "0011_inbox_vacuum")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
