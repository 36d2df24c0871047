"""What only grows is not vacuumed for that, the pieces of counted ids not for a few of them, and neither in a hurry.

Under load PostgreSQL went through the texts of raw events, of which nothing is deleted, with each fifth that came, and
through the ids every four seconds: up to a twentieth of a processor. 50,000 pieces are some 100 MB that are given back
later. What vacuum writes acknowledgements wait for: at a rest of 5 ms it is 16 MB a second.
"""

from django.db import migrations

_INSERTS = "toast.autovacuum_vacuum_insert_threshold"
_PIECES = "toast.autovacuum_vacuum_threshold"
_REST = "toast.autovacuum_vacuum_cost_delay"
_EACH_CHUNKS = """
DO $$ DECLARE partition regclass; BEGIN
    FOR partition IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'usage_chunk'::regclass LOOP
        EXECUTE format('ALTER TABLE %s {change}', partition);
    END LOOP;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0032_packed_session_deltas")]
    operations = [
        migrations.RunSQL(
            _EACH_CHUNKS.replace("{change}", f"SET ({_INSERTS} = -1, {_REST} = 5)")
            + f"ALTER TABLE usage_id_segment SET ({_INSERTS} = -1, {_PIECES} = 50000, {_REST} = 5);",
            _EACH_CHUNKS.replace("{change}", f"RESET ({_INSERTS}, {_REST})")
            + f"ALTER TABLE usage_id_segment RESET ({_INSERTS}, {_PIECES}, {_REST});",
        )
    ]
