"""The usage engine: how much it takes in, keeps in memory and names."""

from mindweave.env import env_int

# Accepted events that may wait to be counted, and how many more of the gateways' own; beyond, ingest answers 429.
USAGE_INBOX_MAX_EVENTS = env_int("USAGE_INBOX_MAX_EVENTS", 1_000_000)
USAGE_INBOX_RESERVED_EVENTS = env_int("USAGE_INBOX_RESERVED_EVENTS", 200_000)
# With less room on the disk of our own PostgreSQL, nothing is accepted.
USAGE_MIN_FREE_BYTES = env_int("USAGE_MIN_FREE_BYTES", 512 * 1024 * 1024)
# For each shard of the drain: the most that its filters of event ids may take (0: its part of a sixteenth of the memory
# there is, at least 128 MiB), and the ids kept in memory beside them.
USAGE_DEDUPE_FILTER_BYTES = env_int("USAGE_DEDUPE_FILTER_BYTES", 0)
USAGE_DEDUPE_CACHE_IDS = env_int("USAGE_DEDUPE_CACHE_IDS", 1_000_000)
# A session that nothing came for in so long has ended.
USAGE_SESSION_IDLE_SECONDS = env_int("USAGE_SESSION_IDLE_SECONDS", 30 * 60)
# A shard whose slots wait so long while it writes nothing is stuck.
USAGE_DRAIN_STALL_SECONDS = env_int("USAGE_DRAIN_STALL_SECONDS", 60)
# Distinct names of an organisation that are counted under themselves; what comes later counts as "other".
USAGE_MAX_MODELS = env_int("USAGE_MAX_MODELS", 500)
USAGE_MAX_MCP_SERVERS = env_int("USAGE_MAX_MCP_SERVERS", 500)
USAGE_MAX_MCP_TOOLS = env_int("USAGE_MAX_MCP_TOOLS", 5_000)
USAGE_MAX_SOURCES = env_int("USAGE_MAX_SOURCES", 100)
# Service tiers, places of inference and speeds, each.
USAGE_MAX_PRICE_WORDS = env_int("USAGE_MAX_PRICE_WORDS", 50)
# Distinct combinations of all of these.
USAGE_MAX_WHATS = env_int("USAGE_MAX_WHATS", 20_000)
# Organisations named in the metrics, those with most events today; the others are one line.
USAGE_METRICS_ORGS = env_int("USAGE_METRICS_ORGS", 20)
# A file to import, as it is uploaded and when inflated; how long a full inbox is waited for.
USAGE_IMPORT_MAX_BYTES = env_int("USAGE_IMPORT_MAX_BYTES", 2 * 1024**3)
USAGE_IMPORT_MAX_INFLATED_BYTES = env_int("USAGE_IMPORT_MAX_INFLATED_BYTES", 32 * 1024**3)
USAGE_IMPORT_PATIENCE_SECONDS = env_int("USAGE_IMPORT_PATIENCE_SECONDS", 15 * 60)
# Events a second that one live socket shows; what is more is counted and said.
USAGE_LIVE_EVENTS_A_SECOND = env_int("USAGE_LIVE_EVENTS_A_SECOND", 200)
