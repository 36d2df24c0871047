"""What hints say of a search: the chunks that surely hold nothing it looks for, and those that may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from apps.usage.chunks import at_micros, fetch, request_hash
from apps.usage.hints import (
    ENTRY,
    FORMATS,
    REQUEST,
    SESSION,
    combos_hold,
    entries_hold,
    error_code,
    id_keys,
    value_keys,
    who_entries_hold,
    who_runs,
    word_key,
)
from apps.usage.ingest.what import STOP_REASONS
from apps.usage.selectors.plan import EVER, MAX_LISTED, Plan

__all__ = ["Hints"]

Numbers = npt.NDArray[np.int64]

# Who asks for more values than this looks into the chunks.
_MAX_VALUES: Final = 50
# Bytes of entries of whos that are read at most: whoever asks for so many people finds something soon.
_MAX_WHO_BYTES: Final = 4 << 20
# So many blocks are asked first, so many times as many each time after: often the newest ones have enough.
_FIRST_BLOCKS, _MORE_BLOCKS = 4, 8


@dataclass(slots=True)
class _Block:
    """A block of the search's time; ``maybe`` are the places that nothing was said against yet.

    ``is_telling`` where it knows of who and what at least what the lists of its chunks say; ``has_errors`` where its
    combinations were asked and have each event's error type.
    """

    id: int
    bits: int
    chunks: Any
    maybe: Any
    is_telling: bool = False
    has_errors: bool = False


@dataclass(frozen=True, slots=True)
class _Values:
    """Hashes of the values of one field, any of which is looked for.

    Of event ids not every block knows; of error types the combinations mostly say as much.
    """

    keys: list[int]
    of_ids: bool = False
    of_errors: bool = False


@dataclass(frozen=True, slots=True)
class _WhoRun:
    """Where entries of a who lie in a block, and the combinations that are looked for among them."""

    block: int
    combos: Any
    start: int
    end: int


class Hints:
    """What hints say of the chunks of a search, from the newest block on, as far as it is asked for.

    Ids of chunks: those ``without`` any event of the search; ``perhaps`` are those whose who and what may meet.
    Ask before reading the chunks.
    """

    def __init__(self, plan: Plan) -> None:
        self._without: list[Any] = []
        self._perhaps: list[Any] = []
        self._plan = plan
        self._errors = _error_codes(plan)
        self._combos, self._values = _asks_for_combos(plan, self._errors), _values(plan)
        # Blocks that were asked, their chunks, and how many of these may have something.
        self._asked = self._chunks = self._maybe = 0
        self._beyond: tuple[datetime, int] | None = None
        self._is_whole = not self._combos and not self._values

    @property
    def without(self) -> Numbers:
        return _joined(self._without)

    @property
    def perhaps(self) -> Numbers:
        return _joined(self._perhaps)

    @property
    def share(self) -> float:
        """Of the chunks that were asked about, how many may have something, at least one of them; 1 where none was."""
        return max(1, self._maybe) / self._chunks if self._chunks else 1.0

    def know(self, chunks: int) -> None:
        """Ask on until so many chunks are known that may have something, or all are."""
        while self._maybe < chunks and not self._is_whole:
            self._ask(self._next_blocks(chunks))

    def _next_blocks(self, chunks: int) -> int:
        """How many blocks to ask next: as many as will do, going by those that were asked."""
        if not self._asked:
            return _FIRST_BLOCKS
        most = self._asked * _MORE_BLOCKS
        if not self._maybe:
            return most
        return min(most, (chunks - self._maybe) * self._asked * 5 // (4 * self._maybe) + 1)

    def _ask(self, blocks_at_most: int) -> None:
        keys = sorted({key for one in self._values for key in one.keys})
        rows = _blocks(self._plan, keys, self._beyond, blocks_at_most, combos=self._combos)
        self._is_whole = len(rows) < blocks_at_most
        self._asked += len(rows)
        if rows:
            self._beyond = (rows[-1][7], rows[-1][0])
        blocks: list[_Block] = []
        asked: list[tuple[int, int, int, int, int]] = []
        runs: list[_WhoRun] = []
        for number, bits, chunks, has_ids, packed, who_fence, fences, _ in rows:
            block = _Block(number, bits, np.array(chunks, dtype=np.int64), np.ones(len(chunks), dtype=bool))
            if self._combos:
                runs += self._met(block, len(blocks), packed, who_fence)
            blocks.append(block)
            if block.maybe.any():
                borders = {key: np.frombuffer(fence, dtype="<u4") for key, fence in zip(keys, fences, strict=True)}
                for which, one in enumerate(self._values):
                    if not (one.of_ids and not has_ids) and not (one.of_errors and block.has_errors):
                        for key in one.keys:
                            low, high = borders[key].tolist()
                            asked.append((len(blocks) - 1, which, key, low, high))
        _ask_who_entries(blocks, runs)
        _ask_entries(blocks, asked)
        for block in blocks:
            # A chunk whose costs changed is 0 in its block, and is asked of no longer.
            self._without.append(block.chunks[~block.maybe & (block.chunks != 0)])
            self._maybe += int(block.maybe.sum())
            self._chunks += len(block.chunks)
            if block.is_telling:
                self._perhaps.append(block.chunks[block.maybe & (block.chunks != 0)])

    def _met(self, block: _Block, place: int, packed: bytes, who_fence: bytes | None) -> list[_WhoRun]:
        """Leave in a block what its combinations agree with; the runs of entries of whos that know more."""
        plan = self._plan
        held = combos_hold(
            packed, len(block.chunks), who=plan.who, what=plan.what, stops=plan.stops, costs=plan.costs,
            errors=self._errors,
        )  # fmt: skip
        block.maybe, block.has_errors = held.chunks, held.has_errors
        block.is_telling = plan.who is None or held.has_who or who_fence is not None
        if plan.who is None or who_fence is None or held.has_who or not block.maybe.any():
            return []
        return [_WhoRun(place, held.combos, *run) for run in who_runs(who_fence, plan.who) or [(0, 0)]]


def _joined(parts: list[Any]) -> Numbers:
    """The numbers of all parts, which they are made into one of."""
    if len(parts) != 1:
        parts[:] = [np.concatenate([np.zeros(0, dtype=np.int64), *parts])]
    return parts[0]  # type: ignore[no-any-return]


def _error_codes(plan: Plan) -> list[int] | None:
    for name, words in plan.details:
        if name == "error_type":
            return [error_code(word) for word in words]
    return None


def _asks_for_combos(plan: Plan, errors: list[int] | None) -> bool:
    """Whether combinations know more than the lists that each chunk has of its own."""
    lists = [values for values in (plan.who, plan.what) if values is not None]
    long = any(len(values) > MAX_LISTED for values in lists)
    fields = len(lists) + (errors is not None)
    return long or fields >= 2 or plan.stops is not None or plan.costs is not None


def _values(plan: Plan) -> list[_Values]:
    """What is looked for by value, each field by itself; one that may be unknown is not: that is no value."""
    found: list[_Values] = []
    if plan.sessions is not None and 0 not in plan.sessions:
        found.append(_Values(value_keys(SESSION, plan.sessions).tolist()))
    if plan.requests is not None and b"" not in plan.requests:
        found.append(_Values(value_keys(REQUEST, [request_hash(value) for value in plan.requests]).tolist()))
    if plan.ids is not None:
        found.append(_Values(id_keys(np.frombuffer(b"".join(plan.ids), dtype="V16")).tolist(), of_ids=True))
    for name, words in plan.details:
        if "" not in words and not (name == "stop_reason" and set(words) & set(STOP_REASONS)):
            found.append(_Values([word_key(name, word) for word in words], of_errors=name == "error_type"))
    return [one for one in found if len(one.keys) <= _MAX_VALUES]


def _blocks(
    plan: Plan, keys: Sequence[int], beyond: tuple[datetime, int] | None, limit: int, *, combos: bool
) -> list[tuple[Any, ...]]:
    """The next blocks of the search's time, the newest first; those of another format say nothing."""
    conditions, params = (
        ["org = %(org)s", "format = ANY(%(formats)s)"],
        dict[str, Any](org=plan.org, formats=list(FORMATS), keys=list(keys), limit=limit),
    )
    if beyond is not None:
        conditions.append("(last_at, id) < (%(last)s, %(id)s)")
        params |= {"last": beyond[0], "id": beyond[1]}
    if plan.start > -EVER:
        conditions.append("last_at >= %(start)s")
        params["start"] = at_micros(plan.start)
    if plan.end < EVER:
        conditions.append("first_at < %(end)s")
        params["end"] = at_micros(plan.end)
    return fetch(
        f"SELECT id, bits, chunks, has_ids, {'combos' if combos else 'NULL'},"  # noqa: S608
        f" {'who_fence' if combos and plan.who is not None else 'NULL'},"
        " ARRAY(SELECT substring(fence FROM 1 + 4 * (key >> (32 - bits))::integer FOR 8)"
        " FROM unnest(%(keys)s::bigint[]) WITH ORDINALITY AS asked (key, n) ORDER BY n), last_at"
        f" FROM usage_hint WHERE {' AND '.join(conditions)} ORDER BY last_at DESC, id DESC LIMIT %(limit)s",
        params,
    )


def _ask_who_entries(blocks: list[_Block], runs: list[_WhoRun]) -> None:
    """Leave in each block what may hold, of one of the whos, a combination that is looked for."""
    if not runs or sum(run.end - run.start for run in runs) > _MAX_WHO_BYTES:
        return
    rows = fetch(
        "SELECT a.n, substring(h.who_entries FROM a.start FOR a.size) FROM unnest(%b::bigint[], %b::integer[],"
        " %b::integer[]) WITH ORDINALITY AS a (id, start, size, n) JOIN usage_hint h ON h.id = a.id",
        (
            [blocks[run.block].id for run in runs],
            [1 + run.start for run in runs],
            [run.end - run.start for run in runs],
        ),
    )
    said = dict(rows)
    own: dict[int, list[tuple[int, _WhoRun]]] = {}
    for n, run in enumerate(runs, 1):
        own.setdefault(run.block, []).append((n, run))
    for place, asked in own.items():
        # A block that was made anew meanwhile says nothing.
        if all(n in said for n, _ in asked):
            block = blocks[place]
            entries = b"".join([said[n] for n, _ in asked])
            block.maybe &= who_entries_hold(entries, asked[0][1].combos, len(block.chunks))


def _ask_entries(blocks: list[_Block], asked: list[tuple[int, int, int, int, int]]) -> None:
    """Leave in each block what may hold one of each field's values."""
    if not asked:
        return
    size = ENTRY.itemsize
    rows = fetch(
        "SELECT a.n, substring(h.entries FROM a.start FOR a.size) FROM unnest(%b::bigint[], %b::integer[],"
        " %b::integer[]) WITH ORDINALITY AS a (id, start, size, n) JOIN usage_hint h ON h.id = a.id",
        (
            [blocks[place].id for place, *_ in asked],
            [1 + size * low for *_, low, _ in asked],
            [size * (high - low) for *_, low, high in asked],
        ),
    )
    # A block that was made anew meanwhile says nothing.
    said = dict(rows)
    held: dict[tuple[int, int], Any] = {}
    for n, (place, which, key, _, _) in enumerate(asked, 1):
        block = blocks[place]
        if n in said:
            found = entries_hold(said[n], key, block.bits, len(block.chunks))
        else:
            found = np.ones(len(block.chunks), dtype=bool)
        held[place, which] = held.get((place, which), False) | found
    for (place, _), found in held.items():
        blocks[place].maybe &= found
