"""Counts that no call has: telemetry's numbers come unchecked, and columns hold what a batch of JSON may say."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from apps.usage.contracts import Count, Rejection, TelemetryEvent
from apps.usage.ingest.decode import explain

__all__ = ["Bounded", "bounded"]


class _Counts(msgspec.Struct, gc=False):
    """The counts of an event, by the bounds of a public one; a split of cache writes is within their total."""

    input_tokens: Count | None
    output_tokens: Count | None
    cache_read_input_tokens: Count | None
    cache_creation_input_tokens: Count | None
    latency_ms: Count | None


@dataclass(slots=True)
class Bounded:
    """Events to take, their positions among all, and why the others are refused."""

    events: list[TelemetryEvent] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


def bounded(events: Iterable[TelemetryEvent]) -> Bounded:
    """Sort out the events whose counts are negative or beyond 2,000,000,000: one bad record never costs the export."""
    found = Bounded()
    for place, event in enumerate(events):
        try:
            msgspec.convert(event, _Counts, from_attributes=True)
        except msgspec.ValidationError as error:
            code, detail, pointer = explain(error)
            found.rejected.append(
                Rejection(place, event.event_id, code, f"{pointer[1:]} {detail}", f"/events/{place}{pointer}")
            )
        else:
            found.events.append(event)
            found.places.append(place)
    return found
