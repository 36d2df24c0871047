"""Tables of deltas are filled and emptied all the time, so their statistics are made anew all the time: from a small
sample, and of what statements choose by only. Of all columns that took a tenth of a second every five seconds, for which
acknowledgements waited."""

from django.db import migrations

_CHOSEN = {"usage_delta": ("minute", "org", "who", "what"), "usage_session_delta": ("org", "session")}
_SET = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT attname FROM pg_attribute
        WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped LOOP
        EXECUTE format('ALTER TABLE {table} ALTER COLUMN %I SET STATISTICS %s', name,
            CASE WHEN name IN ({chosen}) THEN '{some}' ELSE '{none}' END);
    END LOOP;
END $$
"""


def _sql(some: int, none: int) -> str:
    return ";\n".join(
        _SET.format(table=table, chosen=", ".join(f"'{name}'" for name in chosen), some=some, none=none)
        for table, chosen in _CHOSEN.items()
    )


class Migration(migrations.Migration):
    dependencies = [("usage", "0022_upkeep")]
    operations = [migrations.RunSQL(_sql(10, 0), _sql(-1, -1))]
