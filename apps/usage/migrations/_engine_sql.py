"""The engine's tables as SQL: partitions, storage and identity columns are beyond what Django writes."""

MEASURES = """
    events integer NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_5m_tokens bigint NOT NULL,
    cache_write_1h_tokens bigint NOT NULL,
    web_searches integer NOT NULL,
    cost_nano bigint NOT NULL,
    reported_nano bigint NOT NULL,
    unpriced integer NOT NULL,
    latency_count integer NOT NULL,
    latency_ms bigint NOT NULL,
    latency_hist bytea NOT NULL
"""

DIMENSIONS = """
CREATE TABLE usage_org (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL UNIQUE,
    salt bytea NOT NULL CHECK (length(salt) = 16),
    timezone text NOT NULL DEFAULT 'UTC',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE usage_tagset (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org integer NOT NULL REFERENCES usage_org,
    tags jsonb NOT NULL,
    UNIQUE (org, tags)
);
CREATE TABLE usage_who (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org integer NOT NULL REFERENCES usage_org,
    project_id uuid,
    team_id uuid,
    person_id uuid,
    key_id uuid,
    tagset integer REFERENCES usage_tagset,
    UNIQUE NULLS NOT DISTINCT (org, project_id, team_id, person_id, key_id, tagset)
);
CREATE TABLE usage_what (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_type text NOT NULL,
    model text NOT NULL,
    service_tier text NOT NULL,
    batch boolean NOT NULL,
    geo text NOT NULL,
    speed text NOT NULL,
    context_band text NOT NULL,
    mcp_server text NOT NULL,
    mcp_tool text NOT NULL,
    source text NOT NULL,
    status text NOT NULL,
    UNIQUE (event_type, model, service_tier, batch, geo, speed, context_band, mcp_server, mcp_tool, source, status)
);
CREATE TABLE usage_tag_key (
    id uuid PRIMARY KEY DEFAULT uuidv7(),
    org_id uuid NOT NULL,
    key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (org_id, key)
);
CREATE TABLE usage_tag_value (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id uuid NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    UNIQUE (org_id, key, value)
);
CREATE TABLE usage_person (
    id uuid PRIMARY KEY,
    org_id uuid NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    claimed_by uuid,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz
);
CREATE INDEX usage_person_org ON usage_person (org_id, id);
"""
DIMENSIONS_BACK = (
    "DROP TABLE usage_person, usage_tag_value, usage_tag_key, usage_what, usage_who, usage_tagset, usage_org"
)

SLOTS = 8

# A queue: rows live for a fraction of a second, so vacuum must come often and unthrottled, and values go out of
# line uncompressed. Toast tables take no fillfactor; the settings are per partition, where the rows are.
INBOX = """
CREATE TABLE usage_inbox (
    id bigint GENERATED ALWAYS AS IDENTITY,
    slot smallint NOT NULL,
    org_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    events integer NOT NULL,
    frames bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (id, slot)
) PARTITION BY LIST (slot);
""" + "".join(
    f"""
CREATE TABLE usage_inbox_{slot} PARTITION OF usage_inbox FOR VALUES IN ({slot}) WITH (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 1, autovacuum_analyze_threshold = 1000000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 100000,
    toast.autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE usage_inbox_{slot} ALTER COLUMN frames SET STORAGE EXTERNAL;
"""
    for slot in range(SLOTS)
)
INBOX_BACK = "DROP TABLE usage_inbox"

SEGMENTS = """
CREATE TABLE usage_id_segment (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slots integer NOT NULL,
    stripe integer NOT NULL,
    level smallint NOT NULL,
    ids integer NOT NULL,
    keys bytea STORAGE EXTERNAL NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE usage_id_segment ALTER COLUMN keys SET STORAGE EXTERNAL;
CREATE INDEX usage_id_segment_stripe ON usage_id_segment (stripe);
"""
SEGMENTS_BACK = "DROP TABLE usage_id_segment"

RAW = """
CREATE TABLE usage_event (
    ts timestamptz NOT NULL,
    cost_nano bigint NOT NULL,
    reported_nano bigint NOT NULL,
    session bigint NOT NULL,
    event_id uuid NOT NULL,
    drop_on date NOT NULL,
    org integer NOT NULL,
    who integer NOT NULL,
    what integer NOT NULL,
    input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    cache_read_tokens integer NOT NULL,
    cache_write_5m_tokens integer NOT NULL,
    cache_write_1h_tokens integer NOT NULL,
    web_searches integer NOT NULL,
    latency_ms integer NOT NULL,
    flags smallint NOT NULL,
    stop_reason smallint NOT NULL,
    request_id text,
    detail text,
    metadata text
) PARTITION BY RANGE (drop_on);
CREATE TABLE usage_event_default PARTITION OF usage_event DEFAULT;
CREATE INDEX usage_event_org_ts ON usage_event (org, ts);
"""
RAW_BACK = "DROP TABLE usage_event"

ROLLUPS = f"""
CREATE TABLE usage_delta (
    minute timestamptz NOT NULL, org integer NOT NULL, who integer NOT NULL, what integer NOT NULL, {MEASURES}
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX usage_delta_org ON usage_delta (org, minute);
CREATE TABLE usage_rollup_minute (
    bucket timestamptz NOT NULL, org integer NOT NULL, who integer NOT NULL, what integer NOT NULL, {MEASURES}
) PARTITION BY RANGE (bucket);
CREATE TABLE usage_rollup_minute_default PARTITION OF usage_rollup_minute DEFAULT;
CREATE INDEX usage_rollup_minute_org ON usage_rollup_minute (org, bucket);
CREATE TABLE usage_rollup_quarter (
    bucket timestamptz NOT NULL, org integer NOT NULL, who integer NOT NULL, what integer NOT NULL, {MEASURES}
);
CREATE INDEX usage_rollup_quarter_org ON usage_rollup_quarter (org, bucket);
CREATE TABLE usage_rollup_day (
    day date NOT NULL, org integer NOT NULL, who integer NOT NULL, what integer NOT NULL, {MEASURES}
);
CREATE INDEX usage_rollup_day_org ON usage_rollup_day (org, day);
"""
ROLLUPS_BACK = "DROP TABLE usage_rollup_day, usage_rollup_quarter, usage_rollup_minute, usage_delta"

# Entries of 4 bytes, bucket and count, little-endian; a count over 65,535 takes several entries.
HISTOGRAM = """
CREATE FUNCTION usage_hist_compact(hist bytea) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (
    SELECT coalesce(string_agg(
        set_byte(set_byte(set_byte(set_byte('\\x00000000'::bytea,
            0, bucket & 255), 1, bucket >> 8), 2, part & 255), 3, part >> 8), ''::bytea ORDER BY bucket), ''::bytea)
    FROM (
        SELECT bucket, least(65535, total - 65535 * turn)::integer AS part
        FROM (
            SELECT get_byte(hist, 4 * i) + 256 * get_byte(hist, 4 * i + 1) AS bucket,
                sum(get_byte(hist, 4 * i + 2) + 256 * get_byte(hist, 4 * i + 3)) AS total
            FROM generate_series(0, length(hist) / 4 - 1) AS i
            GROUP BY 1
        ) AS sums, generate_series(0, ((total - 1) / 65535)::integer) AS turn
        WHERE total > 0
    ) AS entries
);
"""
HISTOGRAM_BACK = "DROP FUNCTION usage_hist_compact(bytea)"

SESSION_MEASURES = """
    started_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    events integer NOT NULL,
    calls integer NOT NULL,
    tool_calls integer NOT NULL,
    errors integer NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cache_read_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    cost_nano bigint NOT NULL
"""
SESSIONS = f"""
CREATE TABLE usage_session (
    id bigint NOT NULL,
    org integer NOT NULL REFERENCES usage_org,
    session_id text NOT NULL,
    who integer NOT NULL,
    models text[] NOT NULL, {SESSION_MEASURES},
    PRIMARY KEY (org, id)
) WITH (fillfactor = 80);
CREATE INDEX usage_session_org_last ON usage_session (org, last_at);
CREATE TABLE usage_session_delta (
    session bigint NOT NULL, org integer NOT NULL, session_id text NOT NULL, who integer NOT NULL,
    model text NOT NULL, {SESSION_MEASURES}
) WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX usage_session_delta_org ON usage_session_delta (org, session);
"""
SESSIONS_BACK = "DROP TABLE usage_session_delta, usage_session"

STEPS = [
    (DIMENSIONS, DIMENSIONS_BACK),
    (INBOX, INBOX_BACK),
    (SEGMENTS, SEGMENTS_BACK),
    (RAW, RAW_BACK),
    (ROLLUPS, ROLLUPS_BACK),
    (HISTOGRAM, HISTOGRAM_BACK),
    (SESSIONS, SESSIONS_BACK),
]
