"""The deltas of an organisation's minute side by side in one row, a list of each column: `usage_delta_pack`.

With 2,000 organisations a flush added 250 rows for each of them, and what a row costs is mostly that it is one.
`usage_delta` reads as before, now as a view. A column that is nothing but zeros is null in a pack.
"""

from django.db import migrations

_KEYS = ("who", "what")
_MEASURES = {
    "events": "integer", "input_tokens": "bigint", "output_tokens": "bigint", "cache_read_tokens": "bigint",
    "cache_write_5m_tokens": "bigint", "cache_write_1h_tokens": "bigint", "web_searches": "integer",
    "cost_nano": "bigint", "reported_nano": "bigint", "unpriced": "integer", "latency_count": "integer",
    "latency_ms": "bigint", "latency_hist": "bytea",
}  # fmt: skip
_ALL = (*_KEYS, *_MEASURES)
_COLUMNS = ", ".join(_ALL)
# What a table of deltas is told of vacuum and statistics, as in 0001 and 0023. Its rows are gone within the hour, so
# there is nothing to vacuum for where they only came.
_OPTIONS = ", ".join(
    f"{table}autovacuum_{option}"
    for table in ("", "toast.")
    for option in ("vacuum_scale_factor = 0.1", "vacuum_cost_delay = 0", "vacuum_insert_threshold = -1")
)
_TABLE = f"""
CREATE TABLE usage_delta_pack (
    minute timestamptz NOT NULL, org integer NOT NULL, keys integer NOT NULL,
    who integer[] NOT NULL, what integer[] NOT NULL, {", ".join(f"{name} {kind}[]" for name, kind in _MEASURES.items())}
) WITH ({_OPTIONS});
CREATE INDEX usage_delta_pack_org ON usage_delta_pack (org, minute);
ALTER TABLE usage_delta_pack ALTER minute SET STATISTICS 10, ALTER org SET STATISTICS 10, ALTER keys SET STATISTICS 0,
    {", ".join(f"ALTER {name} SET STATISTICS 0, ALTER {name} SET STORAGE EXTERNAL" for name in _ALL)};
"""
_VIEW = f"""
CREATE VIEW usage_delta AS SELECT minute, org, who, what,
    {", ".join(f"coalesce({name}, 0) AS {name}" for name in _MEASURES if name != "latency_hist")},
    coalesce(latency_hist, ''::bytea) AS latency_hist
FROM (SELECT minute, org, {", ".join(f"unnest({name}) AS {name}" for name in _ALL)} FROM usage_delta_pack) AS keys;
"""
_PACK = f"""
INSERT INTO usage_delta_pack (minute, org, keys, {_COLUMNS})
SELECT minute, org, count(*), {", ".join(f"array_agg({name})" for name in _ALL)} FROM usage_delta GROUP BY org, minute;
DROP TABLE usage_delta;
"""
_ROWS = f"""
CREATE TABLE usage_rows (
    minute timestamptz NOT NULL, org integer NOT NULL, who integer NOT NULL, what integer NOT NULL,
    {", ".join(f"{name} {kind} NOT NULL" for name, kind in _MEASURES.items())}
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
INSERT INTO usage_rows (minute, org, {_COLUMNS}) SELECT minute, org, {_COLUMNS} FROM usage_delta;
DROP VIEW usage_delta; DROP TABLE usage_delta_pack;
ALTER TABLE usage_rows RENAME TO usage_delta;
CREATE INDEX usage_delta_org ON usage_delta (org, minute);
ALTER TABLE usage_delta {", ".join(f"ALTER {name} SET STATISTICS {10 if name in _KEYS else 0}" for name in _ALL)},
    ALTER minute SET STATISTICS 10, ALTER org SET STATISTICS 10;
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0029_models_of_session_deltas")]
    operations = [migrations.RunSQL(_TABLE + _PACK + _VIEW, _ROWS)]
