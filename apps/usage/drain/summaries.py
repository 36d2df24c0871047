"""What a flush counted for each organisation, for the bus."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from apps.core import clock
from apps.usage.drain.dims import Dimensions, OrgEntry
from apps.usage.drain.rows import MINUTE_US, UNPRICED, Events, Ints, WhatTraits, distinct, exact_sum

__all__ = ["MAX_NAMED", "OrgSummary", "summaries", "unpriced_models"]

MAX_NAMED = 100


@dataclass(slots=True)
class OrgSummary:
    """What a flush counted for one organisation; the data of ``usage.batch_ingested``."""

    org_id: UUID
    data: dict[str, Any]


def summaries(orgs: list[OrgEntry], events: Events, traits: WhatTraits, dims: Dimensions) -> list[OrgSummary]:
    """What each organisation's part of the flush adds up to. Frames lie by organisation, so its events are a slice."""
    entries = {org.id: org for org in orgs}
    records = events.columns
    borders = np.flatnonzero(np.concatenate(([True], events.org[1:] != events.org[:-1], [True])))
    starts, sizes = borders[:-1], np.diff(borders)
    sums = {
        "events": sizes,
        "calls": _added(traits.is_call, starts),
        "tool_calls": _added(traits.is_tool, starts),
        "errors": _added(traits.is_error, starts),
        **{f"{name}_tokens": _added(records[name], starts) for name in ("input", "output", "cache_read")},
        "cache_creation_tokens": _added(records["write_5m"], starts) + _added(records["write_1h"], starts),
        "unpriced": _added((records["flags"] & UNPRICED) != 0, starts),
    }
    minute = records["ts"] // MINUTE_US
    out = []
    for place, (start, end) in enumerate(pairwise(borders.tolist())):
        part = slice(start, end)
        whats = [traits.keys[i] for i in distinct(traits.place[part]).tolist()]
        _, projects, teams, people, keys, _ = zip(
            *(dims.who_keys[i] for i in distinct(events.who[part]).tolist()), strict=True
        )
        cost = exact_sum(records["cost"][part])
        data = {
            **{name: int(column[place]) for name, column in sums.items()},
            "cost_usd": f"{cost // 10**9}.{cost % 10**9:09d}",
            "minutes": [_iso_minute(number) for number in distinct(minute[part])[-MAX_NAMED:].tolist()],
            "models": _named(key[1] for key in whats),
            "event_types": _named(key[0] for key in whats),
            "mcp_servers": _named(key[7] for key in whats),
            "sources": _named(key[9] for key in whats),
            "projects": _ids(projects),
            "teams": _ids(teams),
            "people": _ids(people),
            "keys": _ids(keys),
        }
        out.append(OrgSummary(entries[int(events.org[start])].org_id, data))
    return out


def _added(column: npt.NDArray[Any], starts: Ints) -> Ints:
    """The sum of each organisation's part."""
    sums: Ints = np.add.reduceat(column, starts, dtype=np.int64)
    return sums


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
    return [uuid_text(value) for value in sorted(filter(None, set(values)))[:MAX_NAMED]]


def uuid_text(value: bytes) -> str:
    """The text of an id's 16 bytes; making a UUID of them takes six times as long."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
