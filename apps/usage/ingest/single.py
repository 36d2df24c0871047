"""One event by itself, without columns.

A column of one value costs as much to set up as one of a thousand. The frame is the same to the byte as the one
:func:`apps.usage.ingest.columns.build` makes; what is unusual, and all that may be refused, is left to it.
"""

import struct

from apps.projects.contracts import KeyContext
from apps.usage.chunks import request_hash
from apps.usage.contracts import EventCore
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.batch import Window
from apps.usage.ingest.checks import nano_of
from apps.usage.ingest.decode import MAX_METADATA_BYTES
from apps.usage.ingest.frame import NO_SESSION, VERSION, Header, WhatKey, WhoKey, pack
from apps.usage.ingest.nesting import is_too_deep
from apps.usage.ingest.parse import is_uuid, parse_time, parse_uuid
from apps.usage.ingest.what import COST_IS_REPORTED, PRICED, REPORTED, UNPRICED
from apps.usage.ingest.who import tags_of
from apps.usage.pricing.book import TOKEN_KINDS, PriceClass, get_book
from apps.usage.pricing.models_names import canonical_model
from apps.usage.texts import TextColumn, joined

__all__ = ["frame_of_one"]

_RECORD = struct.Struct("<16sqqqHHHBBiiiiiiiI")
# Above so many tokens a context band may apply.
_PLAIN_CONTEXT = 100_000


def frame_of_one(
    event: EventCore, *, key: KeyContext, directory: Directory, window: Window
) -> tuple[bytes, int] | None:
    """The frame of an event and whether it is unpriced (1) or not (0); None where :func:`build` has to look at it."""
    if type(event) is not EventCore:
        return None
    event_id, micros = parse_uuid(event.event_id), parse_time(event.timestamp)
    if event_id is None or micros is None or not window.past_edge <= micros <= window.received + window.future:
        return None
    if event.org_id not in (None, str(key.org_id)) or event.project_id not in (None, str(key.project_id)):
        return None
    if event.user_id is not None and event.user_id not in directory.members and not is_uuid(event.user_id):
        return None
    metadata = bytes(event.metadata)
    if metadata and (metadata[0] != 123 or len(metadata) > MAX_METADATA_BYTES or is_too_deep(metadata)):
        return None
    model = canonical_model(event.model) if event.model else ""
    tokens = (
        event.input_tokens or 0, event.output_tokens or 0, event.cache_read_input_tokens or 0,
        event.cache_creation_input_tokens or 0, 0, 0,
    )  # fmt: skip
    if model != (event.model or "") or sum(tokens) - tokens[1] > _PLAIN_CONTEXT:
        return None
    reported = None if event.cost_usd is None else nano_of(event.cost_usd)
    if event.cost_usd is not None and reported is None:
        return None
    person = directory.person_of_user(event.user_id, key)
    team = directory.team_of(person, key)
    defaults = key.rules.default_tags if key.rules is not None else ()
    tags = tags_of([metadata], directory.tag_keys, defaults)[0] if directory.tag_keys else None
    who: WhoKey = (
        key.project_id.bytes, team.bytes if team else None, person.bytes if person else None, key.key_id.bytes, tags,
    )  # fmt: skip
    what: WhatKey = (event.event_type, model, *PriceClass(), "", "", "", event.status or "ok")
    cost, flags = _cost(event, model, micros, tokens, reported, key)
    request = event.request_id.encode() if event.request_id else b""
    record = _RECORD.pack(
        event_id.bytes, micros, cost, reported or 0, 0, 0, 0 if event.session_id else NO_SESSION, flags, 0, *tokens,
        -1 if event.latency_ms is None else event.latency_ms, request_hash(request) if request else 0,
    )  # fmt: skip
    header = Header(1, [who], [what], [event.session_id] if event.session_id else [], [], VERSION)
    texts = (None if event.request_id is None else joined([request]), None, _column(metadata))
    return pack(header, record, texts), int(flags & UNPRICED != 0)


def _column(metadata: bytes) -> TextColumn | None:
    return joined([metadata]) if metadata else None


def _cost(
    event: EventCore, model: str, micros: int, tokens: tuple[int, ...], reported: int | None, key: KeyContext
) -> tuple[int, int]:
    """Nano-USD and flags, by the rules of :mod:`apps.usage.ingest.what`."""
    flags = REPORTED if reported is not None else 0
    if event.event_type != "api_call" and not (model and any(tokens)):
        return (reported, flags | COST_IS_REPORTED) if reported is not None else (0, flags)
    cost = get_book().cost_of(model, PriceClass(), micros, dict(zip(TOKEN_KINDS, tokens, strict=True)), key.org_id)
    if cost is not None:
        return cost, flags | PRICED
    return (reported, flags | COST_IS_REPORTED) if reported is not None else (0, flags | UNPRICED)
