"""A flush's deltas of an organisation's sessions side by side in one row: `usage_session_delta_pack`.

As with 0030 what such a row costs is mostly that it is one. `usage_session_delta` reads as before, now as a view. A list
of figures that are nothing but zeros is null, as is that of whos where each session has no other than its `who`.
"""

from django.db import migrations

_SUMS = {
    "events": "integer", "calls": "integer", "tool_calls": "integer", "errors": "integer", "input_tokens": "bigint",
    "output_tokens": "bigint", "cache_read_tokens": "bigint", "cache_write_tokens": "bigint", "cost_nano": "bigint",
}  # fmt: skip
_KEYS = {
    "session": "bigint", "session_id": "text", "who": "integer", "models": "text", "started_at": "timestamptz",
    "last_at": "timestamptz",
}  # fmt: skip
_ALL = (*_KEYS, "whos", *_SUMS)
_COLUMNS = ", ".join(_SUMS)
_OPTIONS = ", ".join(
    f"{table}autovacuum_{option}"
    for table in ("", "toast.")
    for option in ("vacuum_scale_factor = 0.1", "vacuum_cost_delay = 0", "vacuum_insert_threshold = -1")
)
_TABLE = f"""
CREATE TABLE usage_session_delta_pack (
    org integer NOT NULL, sessions integer NOT NULL,
    {", ".join(f"{name} {kind}[] NOT NULL" for name, kind in _KEYS.items())}, whos text[],
    {", ".join(f"{name} {kind}[]" for name, kind in _SUMS.items())}
) WITH ({_OPTIONS});
CREATE INDEX usage_session_delta_pack_org ON usage_session_delta_pack (org);
ALTER TABLE usage_session_delta_pack ALTER org SET STATISTICS 10, ALTER sessions SET STATISTICS 0,
    {", ".join(f"ALTER {name} SET STATISTICS 0, ALTER {name} SET STORAGE EXTERNAL" for name in _ALL)};
"""
# Whos of before 0031 are not known, which is said as of those that are too many.
_PACK = f"""
INSERT INTO usage_session_delta_pack (org, sessions, {", ".join(_KEYS)}, whos, {_COLUMNS})
SELECT org, count(*), array_agg(session), array_agg(session_id), array_agg(who),
    array_agg(array_to_string(models, chr(31))), array_agg(started_at), array_agg(last_at),
    array_agg(coalesce(array_to_string(whos, ','), '*')), {", ".join(f"array_agg({name})" for name in _SUMS)}
FROM usage_session_delta GROUP BY org;
DROP TABLE usage_session_delta;
"""
_VIEW = f"""
CREATE VIEW usage_session_delta AS SELECT session, org, session_id, who, string_to_array(models, chr(31)) AS models,
    CASE coalesce(whos, '') WHEN '' THEN ARRAY[who] WHEN '*' THEN NULL ELSE string_to_array(whos, ',')::integer[]
    END AS whos, started_at, last_at, {", ".join(f"coalesce({name}, 0) AS {name}" for name in _SUMS)}
FROM (SELECT org, {", ".join(f"unnest({name}) AS {name}" for name in _ALL)} FROM usage_session_delta_pack) AS spread;
"""
_ROWS = f"""
CREATE TABLE usage_rows (
    session bigint NOT NULL, org integer NOT NULL, session_id text NOT NULL, who integer NOT NULL,
    models text[] NOT NULL, whos integer[], started_at timestamptz NOT NULL, last_at timestamptz NOT NULL,
    {", ".join(f"{name} {kind} NOT NULL" for name, kind in _SUMS.items())}
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
INSERT INTO usage_rows (org, {", ".join(_KEYS)}, whos, {_COLUMNS})
SELECT org, {", ".join(_KEYS)}, whos, {_COLUMNS} FROM usage_session_delta;
DROP VIEW usage_session_delta; DROP TABLE usage_session_delta_pack;
ALTER TABLE usage_rows RENAME TO usage_session_delta;
CREATE INDEX usage_session_delta_org ON usage_session_delta (org, session);
ALTER TABLE usage_session_delta ALTER org SET STATISTICS 10, ALTER session SET STATISTICS 10,
    {", ".join(f"ALTER {name} SET STATISTICS 0" for name in _ALL if name != "session")};
"""


class Migration(migrations.Migration):
    dependencies = [("usage", "0031_whos_of_sessions")]
    operations = [migrations.RunSQL(_TABLE + _PACK + _VIEW, _ROWS)]
