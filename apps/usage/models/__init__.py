"""The usage engine's tables (docs/data-model.md, section "Usage"). Others read them through `apps.usage.store`.

Way of an event: `InboxBatch` (durable, deleted when drained) → in one transaction `EventChunk`, `RollupDelta`,
`SessionDelta`, `IdSegment` → folded later into `RollupMinute`, `RollupQuarter`, `RollupDay` (whole, and by
one side: `RollupDayWhat`, `RollupDayWho`), `Session`.

- Surrogates: `Org.id` (int) stands for the organisation; `Who` for (org, project, team, person, key, tag set);
  `What` for (event type, model, price class, MCP server and tool, source, status).
- Rollup tables are **additive**: a key may have several rows; readers sum. An event is either in `usage_delta` or in
  all rollup tables, never both, so a total is always `rollup UNION ALL delta`. `store.rollup_sql()` writes it.
- `cost_nano` is integer nano-USD. `latency_hist` is a run of 4-byte entries that concatenates under
  `string_agg(latency_hist, ''::bytea)`; `apps.usage.histogram.percentiles` reads the sum.
- `EventChunk.drop_on` (its partition) is the day on which the organisation's retention lets go of its events.
"""

from apps.usage.models.background import Reprice
from apps.usage.models.dims import DirectoryChange, Org, Person, TagKey, TagSet, TagValue, What, Who
from apps.usage.models.engine import EventChunk, Hint, HintMark, IdSegment, InboxBatch, Summary, Unhinted
from apps.usage.models.imports import Import, ImportChunk, ImportProblem
from apps.usage.models.prices import Price, PriceBookVersion
from apps.usage.models.rollups import (
    RollupDay,
    RollupDayWhat,
    RollupDayWho,
    RollupDelta,
    RollupMinute,
    RollupQuarter,
    Session,
    SessionDelta,
    SessionPart,
)
from apps.usage.models.watch import SetAside, Shard, Stall, Upkeep

__all__ = [
    "DirectoryChange",
    "EventChunk",
    "Hint",
    "HintMark",
    "IdSegment",
    "Import",
    "ImportChunk",
    "ImportProblem",
    "InboxBatch",
    "Org",
    "Person",
    "Price",
    "PriceBookVersion",
    "Reprice",
    "RollupDay",
    "RollupDayWhat",
    "RollupDayWho",
    "RollupDelta",
    "RollupMinute",
    "RollupQuarter",
    "Session",
    "SessionDelta",
    "SessionPart",
    "SetAside",
    "Shard",
    "Stall",
    "Summary",
    "TagKey",
    "TagSet",
    "TagValue",
    "Unhinted",
    "Upkeep",
    "What",
    "Who",
]
