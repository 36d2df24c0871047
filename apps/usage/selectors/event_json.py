"""Events out of chunks as the API shows them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from apps.core.money import nano_to_str
from apps.usage.chunks import FACTS, SCAN, SPARSE, Bigints, Chunk, at_micros, fetch
from apps.usage.ingest.what import COST_IS_REPORTED, PRICED, REPORTED, STOP_REASONS, UNPRICED

__all__ = ["Found", "bodies"]

# Whole numbers beyond are answered as doubles.
_WHOLE = 2.0**63
_WHO = "w.id, w.project_id, coalesce(p.claimed_by, w.person_id), w.team_id, w.key_id, g.tags"
_WHAT = (
    "id, event_type, model, CASE WHEN batch THEN 'batch' ELSE service_tier END, geo, speed, mcp_server, mcp_tool,"
    " source, status"
)


# All names in one turn, and as JSON, which is read at once.
_NAMES: Final = f"""
SELECT
    (
        SELECT json_agg(json_build_array({_WHO})) FROM usage_who w LEFT JOIN usage_tagset g ON g.id = w.tagset
        LEFT JOIN usage_person p ON p.id = w.person_id WHERE w.id = ANY(%(who)b)
    )::text,
    (SELECT json_agg(json_build_array({_WHAT})) FROM usage_what WHERE id = ANY(%(what)b))::text,
    (
        SELECT json_agg(json_build_array(n.id, s.session_id)) FROM unnest(%(session)b) AS n (id) CROSS JOIN LATERAL (
            SELECT session_id FROM usage_session WHERE org = %(org)s AND id = n.id UNION ALL
            SELECT session_id[array_position(session, n.id)] FROM usage_session_delta_pack
            WHERE org = %(org)s AND n.id = ANY(session) LIMIT 1
        ) s
    )::text
"""  # noqa: S608
_NUMBERS = tuple(name for name, _ in (*SCAN, *FACTS, *SPARSE) if name not in ("id", "request"))


@dataclass(frozen=True, slots=True)
class Found:
    """An event: its chunk and its place in it."""

    chunk: Chunk
    place: int


@dataclass(frozen=True, slots=True)
class _Names:
    who: Mapping[int, Sequence[Any]]
    what: Mapping[int, Sequence[Any]]
    session: Mapping[int, str]


def bodies(found: Sequence[Found], org: int, org_id: UUID) -> list[tuple[datetime, UUID, dict[str, Any]]]:
    """The moment, the id and the JSON of each event, in their order."""
    # Of each chunk once: inflating them is most of the work.
    chunks: dict[int, list[int]] = {}
    for n, one in enumerate(found):
        chunks.setdefault(id(one.chunk), []).append(n)
    numbers: dict[str, list[int]] = {name: [0] * len(found) for name in _NUMBERS}
    ids, texts = [b""] * len(found), [(b"", b"", b"")] * len(found)
    for mine in chunks.values():
        chunk, places = found[mine[0]].chunk, [found[n].place for n in mine]
        for name, values in numbers.items():
            for n, value in zip(mine, chunk.columns[name][places].tolist(), strict=True):
                values[n] = value
        held = chunk.texts_at(places)
        for n, place, event_id in zip(mine, places, chunk.columns["id"][places].tolist(), strict=True):
            ids[n], texts[n] = event_id, held[place]
    names = _names(numbers, org)
    org_text = str(org_id)
    out = []
    for event_id, own, *values in zip(ids, texts, *numbers.values(), strict=True):
        of_event = dict(zip(_NUMBERS, values, strict=True))
        at, ident = at_micros(of_event["ts"]), UUID(bytes=event_id)
        out.append((at, ident, _body(at, ident, org_text, of_event, own, names)))
    return out


def _names(numbers: Mapping[str, Sequence[int]], org: int) -> _Names:
    used = {name: Bigints(sorted(set(numbers[name]) - {0})) for name in ("who", "what", "session")}
    who, what, sessions = (
        orjson.loads(text) if text else [] for text in fetch(_NAMES, {**used, "org": org}, prepare=True)[0]
    )
    return _Names({row[0]: row[1:] for row in who}, {row[0]: row[1:] for row in what}, dict(sessions))


def _body(
    at: datetime, event_id: UUID, org_id: str, n: Mapping[str, int], texts: tuple[bytes, bytes, bytes], names: _Names
) -> dict[str, Any]:
    project, person, team, key, tags = names.who[n["who"]]
    event_type, model, tier, geo, speed, server, tool, source, status = names.what[n["what"]]
    request_id, detail, metadata = texts
    more = orjson.loads(detail) if detail else {}
    # Names that count as "other" (apps.usage.drain.bounds) are shown all the same.
    folded = more.get("folded", {})
    flags = n["flags"]
    return {
        "event_id": str(event_id),
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "org_id": org_id,
        "project_id": project,
        "user_id": person,
        "team_id": team,
        "key_id": key,
        "event_type": event_type,
        "model": folded.get("model") or model or None,
        "input_tokens": n["input"],
        "output_tokens": n["output"],
        "cache_read_input_tokens": n["cache_read"],
        "cache_creation_input_tokens": n["write_5m"] + n["write_1h"],
        "cache_creation": {"ephemeral_5m_input_tokens": n["write_5m"], "ephemeral_1h_input_tokens": n["write_1h"]},
        "server_tool_use": {
            "web_search_requests": n["web"], "web_fetch_requests": more.get("web_fetch_requests", 0),
        },
        "latency_ms": None if n["latency"] < 0 else n["latency"],
        "cost_usd": None if flags & UNPRICED else nano_to_str(n["cost"]),
        "cost_source": _cost_source(flags),
        "reported_cost_usd": nano_to_str(n["reported"]) if flags & REPORTED else None,
        "status": status,
        "error_type": more.get("error_type"),
        "stop_reason": more.get("stop_reason") or STOP_REASONS[n["stop"]] or None,
        "service_tier": folded.get("service_tier") or tier or None,
        "inference_geo": folded.get("inference_geo") or geo or None,
        "speed": folded.get("speed") or speed or None,
        "session_id": names.session.get(n["session"]),
        "request_id": request_id.decode() or None,
        "mcp_server": folded.get("mcp_server") or server or None,
        "mcp_tool": folded.get("mcp_tool") or tool or None,
        "source": folded.get("source") or source or None,
        "tags": tags or {},
        "metadata": _metadata(metadata),
    }  # fmt: skip


def _metadata(text: bytes) -> Any:
    """Metadata as it came. A number beyond all doubles, which JSON may spell and no answer can hold, is its text."""
    try:
        return orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        return json.loads(text, parse_float=_number, parse_int=_number)


def _number(text: str) -> int | float | str:
    value = float(text)
    if math.isinf(value):
        return text
    return int(text) if text.lstrip("-").isdigit() and abs(value) < _WHOLE else value


def _cost_source(flags: int) -> str | None:
    if flags & UNPRICED:
        return "unpriced"
    if flags & COST_IS_REPORTED:
        return "reported"
    return "price_book" if flags & PRICED else None
