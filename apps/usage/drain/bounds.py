"""How many names an organisation may have counted under themselves.

Models, tools, servers, sources and the words of a price class are what senders say they are, and each distinct
combination is a row that every organisation shares. So each organisation has a share of each kind of name, and of their
combinations; what comes when it is used up counts as ``other``, and the event keeps the true name in its detail. An
organisation belongs to one shard, so nobody else adds to its names meanwhile.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
from django.conf import settings
from django.db import connection

from apps.usage.ingest.frame import Frame, WhatKey
from apps.usage.ingest.what import DETAIL
from apps.usage.telemetry import count_folded
from apps.usage.texts import joined

__all__ = ["OTHER", "NameBounds"]

OTHER: Final = "other"
# Combinations of an organisation that are known to count as themselves, 0.1 kB each, and its set of them, 1 kB; how
# many of them are different ones, 1 kB each.
MAX_REMEMBERED: Final = 400_000
MAX_ORGS: Final = 20_000
MAX_DIFFERENT: Final = 50_000
# Combinations that count as others, 1 kB each; names of organisations that sent a new one lately, 0.2 kB each.
MAX_FOLDED: Final = 20_000
MAX_NAMES: Final = 100_000


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of name: its number in ``usage_name``, its place in a what, the setting that bounds it."""

    number: int
    place: int
    name: str
    setting: str


_KINDS: Final = (
    _Kind(1, 1, "model", "USAGE_MAX_MODELS"),
    _Kind(2, 7, "mcp_server", "USAGE_MAX_MCP_SERVERS"),
    _Kind(3, 8, "mcp_tool", "USAGE_MAX_MCP_TOOLS"),
    _Kind(4, 9, "source", "USAGE_MAX_SOURCES"),
    _Kind(5, 2, "service_tier", "USAGE_MAX_PRICE_WORDS"),
    _Kind(6, 4, "inference_geo", "USAGE_MAX_PRICE_WORDS"),
    _Kind(7, 5, "speed", "USAGE_MAX_PRICE_WORDS"),
)
# All of them together: what a sender can make of names that are each within their share.
_WHATS: Final = _Kind(0, -1, "what", "USAGE_MAX_WHATS")
_Pair = tuple[int, WhatKey]
_NONE: Final[frozenset[WhatKey]] = frozenset()


@dataclass(frozen=True, slots=True)
class _Folded:
    """What a what counts as, and the names that it lost."""

    key: WhatKey
    names: dict[str, str]


class NameBounds:
    """The names of the organisations of one shard. A what that was seen before costs a look-up in a set."""

    def __init__(self) -> None:
        self._fine: dict[int, set[WhatKey]] = {}
        self._folded: dict[_Pair, _Folded] = {}
        self._names: dict[int, dict[int, set[str]]] = {}
        self._remembered = 0
        self._named = 0
        # One object each for what many organisations have.
        self._same: dict[WhatKey, WhatKey] = {}

    def bound(self, frames: Sequence[tuple[Any, Frame]]) -> None:
        """Fold, in ``frames`` (each with its organisation's entry), the names that are too many."""
        fine = self._fine
        strange = [
            (org.id, frame) for org, frame in frames if not fine.get(org.id, _NONE).issuperset(frame.header.whats)
        ]
        if not strange:
            return
        unknown = {
            (org, key)
            for org, frame in strange
            for key in frame.header.whats
            if key not in fine.get(org, _NONE) and (org, key) not in self._folded
        }
        if unknown:
            self._learn(sorted(unknown), {(org, key) for org, frame in strange for key in frame.header.whats})
        for org, frame in strange:
            folded = {
                place: found
                for place, key in enumerate(frame.header.whats)
                if (found := self._folded.get((org, key))) is not None
            }
            if folded:
                _fold(frame, folded)

    def _learn(self, unknown: list[_Pair], needed: set[_Pair]) -> None:
        """Settle what each of these counts as; ``needed`` are those that must be known afterwards."""
        if (
            self._remembered > MAX_REMEMBERED
            or len(self._fine) > MAX_ORGS
            or len(self._same) > MAX_DIFFERENT
            or len(self._folded) > MAX_FOLDED
        ):
            # Forgetting all is simple and rare; what was settled is read back and comes out the same.
            self._fine.clear()
            self._folded.clear()
            self._same.clear()
            self._remembered = 0
            unknown = sorted(needed)
        if self._named > MAX_NAMES:
            self._names.clear()
            self._named = 0
        self._read({org for org, _ in unknown if org not in self._names})
        new: list[tuple[int, int, str]] = []
        for org, key in unknown:
            settled = self._settle(org, key, new)
            if settled is not None:
                self._folded[org, key] = settled
            else:
                self._fine.setdefault(org, set()).add(self._same.setdefault(key, key))
                self._remembered += 1
        if new:
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO usage_name (org, kind, name) SELECT * FROM unnest(%s::integer[], %s::smallint[],"
                    " %s::text[]) ON CONFLICT DO NOTHING",
                    [list(column) for column in zip(*new, strict=True)],
                )

    def _settle(self, org: int, key: WhatKey, new: list[tuple[int, int, str]]) -> _Folded | None:
        """What a what counts as, None where as itself."""
        lost: dict[str, str] = {}
        folded: list[Any] = list(key)

        def fold(kinds: Iterable[_Kind]) -> None:
            for kind in kinds:
                lost[kind.name], folded[kind.place] = str(key[kind.place]), OTHER

        named = [kind for kind in _KINDS if key[kind.place] not in ("", OTHER)]
        fold([kind for kind in named if not self._admit(org, kind, str(key[kind.place]), new)])
        digest = hashlib.blake2b(repr(folded).encode(), digest_size=16).hexdigest()
        if named and not self._admit(org, _WHATS, digest, new):
            fold(named)
        return _Folded(tuple(folded), lost) if lost else None

    def _admit(self, org: int, kind: _Kind, value: str, new: list[tuple[int, int, str]]) -> bool:
        names = self._names[org].setdefault(kind.number, set())
        if value in names:
            return True
        if len(names) >= getattr(settings, kind.setting):
            return False
        names.add(value)
        self._named += 1
        new.append((org, kind.number, value))
        return True

    def _read(self, orgs: Iterable[int]) -> None:
        wanted = list(orgs)
        self._names.update((org, {}) for org in wanted)
        if not wanted:
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT org, kind, name FROM usage_name WHERE org = ANY(%s)", [wanted])
            rows = cursor.fetchall()
        for org, kind, name in rows:
            self._names[org].setdefault(kind, set()).add(name)
        self._named += len(wanted) + len(rows)


def _fold(frame: Frame, folded: dict[int, _Folded]) -> None:
    """Rewrite a frame: its whats, and the details of the events that lose a name by it."""
    request, column, metadata = frame.texts
    details = column.texts() if column is not None else [b""] * frame.header.events
    records = frame.records.copy()
    for place, found in folded.items():
        frame.header.whats[place] = found.key
        events = np.flatnonzero(records["what"] == place)
        records["flags"][events] |= DETAIL
        for event in events.tolist():
            detail = orjson.loads(details[event]) if details[event] else {}
            details[event] = orjson.dumps({**detail, "folded": found.names})
        for name in found.names:
            count_folded(name, len(events))
    frame.records, frame.texts = records, (request, joined(details), metadata)
