"""The inbox is vacuumed before it grows: under a long load the space of what was counted was given back too late.

Batches lie outside their rows, in pieces of 2 kB. Two hundred megabytes of dead ones a slot pushed everything else out of
PostgreSQL's memory. The end of the file is never cut off: that would lock the table against the requests that wait.
"""

from django.db import migrations

_SLOTS = range(8)
FORWARD = "".join(
    f"ALTER TABLE usage_inbox_{slot} SET (toast.autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_threshold = 500,"
    " vacuum_truncate = off, toast.vacuum_truncate = off);\n"
    for slot in _SLOTS
)
BACKWARD = "".join(
    f"ALTER TABLE usage_inbox_{slot} SET (toast.autovacuum_vacuum_threshold = 100000,"
    " autovacuum_vacuum_threshold = 2000);\n"
    f"ALTER TABLE usage_inbox_{slot} RESET (vacuum_truncate, toast.vacuum_truncate);\n"
    for slot in _SLOTS
)


class Migration(migrations.Migration):
    dependencies = [("usage", "0010_imports")]

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
