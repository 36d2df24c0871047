"""Several small batches computed as one.

Most of what a batch of a hundred events costs is there for one event too: two hundred calls that look at a column each.
Batches that wait for each other are therefore turned on their side together, and packed into a frame each. What has
anything unusual is not: a batch with a problem or one id twice, rules of a project, an organisation's own prices.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise

import numpy as np
import numpy.typing as npt

from apps.projects.contracts import KeyContext
from apps.usage.contracts import EventCore
from apps.usage.ingest.attribution import Directory
from apps.usage.ingest.batch import Columns, Ints, Window
from apps.usage.ingest.checks import owner_problems, value_problems
from apps.usage.ingest.columns import Built, begun_records, fill_sessions, fill_texts, framed, repeats
from apps.usage.ingest.frame import WhatKey
from apps.usage.ingest.parse import parse_timestamps, parse_uuids
from apps.usage.ingest.what import describe
from apps.usage.ingest.who import attribute
from apps.usage.pricing.book import get_book
from apps.usage.pricing.tables import distinct
from apps.usage.texts import TextColumn, TextColumns, split

__all__ = ["Part", "build_together", "fits"]


@dataclass(frozen=True, slots=True)
class Part:
    """One batch of those to be built together: typed events of a key, and what they are looked at by."""

    events: Sequence[EventCore]
    key: KeyContext
    directory: Directory
    window: Window


def fits(key: KeyContext) -> bool:
    """Whether batches of a key are of the usual kind, as far as that is known before they are looked at."""
    return (key.rules is None or key.rules.only_tags) and not get_book().has_own(key.org_id)


def build_together(parts: Sequence[Part]) -> list[Built] | None:
    """What each batch, of keys that :func:`fits` is true of, would be built to by itself; all events are of one class.

    None where there is a problem or an id twice in any of them: then each has to be built by itself, which says what.
    """
    events = [*chain.from_iterable(part.events for part in parts)]
    columns = Columns(events)
    ids, bad_ids = parse_uuids(columns["event_id"])
    micros, bad_times = parse_timestamps(columns["timestamp"])
    if bad_ids or bad_times or _outside(parts, micros) or repeats(ids):
        return None
    if value_problems(columns, [part.directory.members for part in parts]):
        return None
    places = [0, *accumulate(len(part.events) for part in parts)]
    pieces = [
        columns.part(start, end, metadata or TextColumn(columns.metadata.lengths[start:end], b""))
        for (start, end), (metadata, _, _) in zip(
            pairwise(places), split((columns.metadata, None, None), places), strict=True
        )
    ]
    if any(owner_problems(piece, part.key) for piece, part in zip(pieces, parts, strict=True)):
        return None
    records = begun_records(ids, micros)
    whats = describe(columns, None, records)
    texts = split(fill_texts(columns, records), places)
    built = [
        _frame(part, piece, records[start:end], whats, own)
        for part, piece, (start, end), own in zip(parts, pieces, pairwise(places), texts, strict=True)
    ]
    built[0].waste += [events, columns]
    return built


def _outside(parts: Sequence[Part], micros: Ints) -> bool:
    """Whether any event may be too old or too new."""
    oldest = max(part.window.past_edge for part in parts)
    newest = min(part.window.future_edge for part in parts)
    return bool(micros.min() < oldest or micros.max() > newest)


def _frame(
    part: Part, piece: Columns, records: npt.NDArray[np.void], whats: list[WhatKey], texts: TextColumns
) -> Built:
    """The frame of one of the batches, whose dictionaries hold nothing of the others."""
    whos, people = attribute(piece, part.key, part.directory, records)
    sessions = fill_sessions(piece, records)
    used, place = distinct(records["what"], len(whats))
    if len(used) < len(whats):
        records["what"] = place
        whats = [whats[number] for number in used.tolist()]
    own: TextColumns = tuple(column if column and column.data else None for column in texts)  # type: ignore[assignment]
    return framed(records, whos, whats, sessions, people, own)
