"""What a flush counted for each organisation, for the bus."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np

from apps.core import clock
from apps.usage.drain.dims import Dimensions, OrgEntry
from apps.usage.drain.rows import MINUTE_US, UNPRICED, Events, WhatTraits, exact_sum

__all__ = ["MAX_NAMED", "OrgSummary", "summaries", "unpriced_models"]

MAX_NAMED = 100


@dataclass(slots=True)
class OrgSummary:
    """What a flush counted for one organisation; the data of ``usage.batch_ingested``."""

    org_id: UUID
    data: dict[str, Any]


def summaries(orgs: list[OrgEntry], events: Events, traits: WhatTraits, dims: Dimensions) -> list[OrgSummary]:
    """What each organisation's part of the flush adds up to. Frames lie by organisation, so its events are a slice."""
    out = []
    entries = {org.id: org for org in orgs}
    records = events.columns
    borders = np.flatnonzero(np.concatenate(([True], events.org[1:] != events.org[:-1], [True])))
    for start, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        part = slice(start, end)
        minutes = np.unique(records["ts"][part] // MINUTE_US)
        whats = [traits.keys[i] for i in np.unique(traits.place[part]).tolist()]
        whos = [dims.who_keys[i] for i in np.unique(events.who[part]).tolist()]
        org = entries[int(events.org[start])]
        unpriced = (records["flags"][part] & UNPRICED) != 0
        cost = exact_sum(records["cost"][part])
        data = {
            "events": end - start,
            "calls": int(traits.is_call[part].sum()),
            "tool_calls": int(traits.is_tool[part].sum()),
            "errors": int(traits.is_error[part].sum()),
            "input_tokens": int(records["input"][part].sum(dtype=np.int64)),
            "output_tokens": int(records["output"][part].sum(dtype=np.int64)),
            "cache_read_tokens": int(records["cache_read"][part].sum(dtype=np.int64)),
            "cache_creation_tokens": int(
                records["write_5m"][part].sum(dtype=np.int64) + records["write_1h"][part].sum(dtype=np.int64)
            ),
            "cost_usd": f"{cost // 10**9}.{cost % 10**9:09d}",
            "unpriced": int(unpriced.sum()),
            "minutes": [_iso_minute(minute) for minute in minutes[-MAX_NAMED:].tolist()],
            "models": _named(key[1] for key in whats),
            "event_types": _named(key[0] for key in whats),
            "mcp_servers": _named(key[7] for key in whats),
            "sources": _named(key[9] for key in whats),
            "projects": _ids(row[1] for row in whos),
            "teams": _ids(row[2] for row in whos),
            "people": _ids(row[3] for row in whos),
            "keys": _ids(row[4] for row in whos),
        }
        out.append(OrgSummary(org.org_id, data))
    return out


def unpriced_models(orgs: list[OrgEntry], events: Events, traits: WhatTraits) -> dict[tuple[UUID, str], int]:
    """How many events of which model had no price, by organisation."""
    owners = {org.id: org.org_id for org in orgs}
    where = np.flatnonzero((events.columns["flags"] & UNPRICED) != 0)
    pairs, counts = np.unique(np.stack((events.org[where], traits.place[where]), axis=1), axis=0, return_counts=True)
    found: dict[tuple[UUID, str], int] = {}
    for (org, place), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        key = (owners[org], traits.keys[place][1])
        found[key] = found.get(key, 0) + count
    return found


def _iso_minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, tz=clock.now().tzinfo).strftime("%Y-%m-%dT%H:%M:00Z")


def _named(values: Any) -> list[str]:
    return sorted({value for value in values if value})[:MAX_NAMED]


def _ids(values: Iterable[bytes | None]) -> list[str]:
    return [uuid_text(value) for value in sorted({value for value in values if value})[:MAX_NAMED]]


def uuid_text(value: bytes) -> str:
    """The text of an id's 16 bytes; making a UUID of them takes six times as long."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
