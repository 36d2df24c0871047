"""What hints say of a search: the chunks that surely hold nothing it looks for, and those that may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from apps.usage.chunks import Bigints, at_micros, fetch, request_hash
from apps.usage.hints import (
    ENTRY,
    FORMATS,
    REQUEST,
    SESSION,
    SOMEWHERE,
    error_code,
    id_keys,
    value_keys,
    word_key,
)
from apps.usage.hints_read import (
    Found,
    Held,
    combos_hold,
    entries_hold,
    rare_entries_hold,
    rare_runs,
    who_entries_hold,
    who_runs,
)
from apps.usage.selectors.pick import FEW
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
    combinations were asked and have each event's error type. ``found`` are the events that entries tell of.
    """

    id: int
    format: int
    bits: int
    chunks: Any
    maybe: Any
    is_telling: bool = False
    has_errors: bool = False
    found: Found | None = None


@dataclass(frozen=True, slots=True)
class _Values:
    """Hashes of the values of one field, any of which is looked for.

    Of event ids not every block knows; of error types the combinations mostly say as much.
    """

    keys: list[int]
    of_ids: bool = False
    of_errors: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    """Where entries of whos, or of rare combinations, lie in a block, and what is looked for among them."""

    block: int
    held: Held
    start: int
    end: int
    is_rare: bool


class Hints:
    """What hints say of the chunks of a search, from the newest block on, as far as it is asked for.

    Ids of chunks: those ``without`` any event of the search; ``perhaps`` are those whose who and what may meet. Of some
    of these it is told which events may be meant: :meth:`places`. Ask before reading the chunks.
    """

    def __init__(self, plan: Plan) -> None:
        self._without: list[Any] = []
        self._perhaps: list[Any] = []
        # Ids of chunks, one for each event that is told of, and the places of these.
        self._told_chunks: list[Any] = []
        self._told_places: list[Any] = []
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
    def tells(self) -> bool:
        """Whether of any chunk it is told which events may be meant."""
        return len(_joined(self._told_chunks)) > 0

    def places(self, chunks: Sequence[int]) -> dict[int, list[int]]:
        """Of these chunks those of which it is told which few events may be meant, and the places of these."""
        ids, places = _joined(self._told_chunks), _joined(self._told_places)
        found: dict[int, list[int]] = {}
        mine = np.flatnonzero(np.isin(ids, np.asarray(chunks, dtype=np.int64)))
        for chunk, place in zip(ids[mine].tolist(), places[mine].tolist(), strict=True):
            found.setdefault(chunk, []).append(place)
        return found

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
        runs: list[_Run] = []
        for number, bits, chunks, has_ids, packed, who_fence, fences, _, form in rows:
            ids = np.array(chunks, dtype=np.int64)
            block = _Block(number, form, bits, ids, np.ones(len(chunks), dtype=bool))
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
        _ask_runs(blocks, runs, self._plan.who)
        _ask_entries(blocks, asked)
        for block in blocks:
            # A chunk whose costs changed is 0 in its block, and is asked of no longer.
            self._without.append(block.chunks[~block.maybe & (block.chunks != 0)])
            self._maybe += int(block.maybe.sum())
            self._chunks += len(block.chunks)
            if block.is_telling:
                self._perhaps.append(block.chunks[block.maybe & (block.chunks != 0)])
            self._tell(block)

    def _met(self, block: _Block, place: int, packed: bytes, who_fence: bytes | None) -> list[_Run]:
        """Leave in a block what its combinations agree with; the runs of its entries that know more."""
        plan = self._plan
        held = combos_hold(
            packed, len(block.chunks), block.format, who=plan.who, what=plan.what, stops=plan.stops, costs=plan.costs,
            errors=self._errors,
        )  # fmt: skip
        block.maybe, block.has_errors = held.chunks, held.has_errors
        block.is_telling = plan.who is None or held.has_who or who_fence is not None
        if not block.maybe.any():
            return []
        rare = rare_runs(held)
        if rare is not None:
            block.is_telling = True
            return [_Run(place, held, *run, is_rare=True) for run in rare]
        if plan.who is None or who_fence is None or held.has_who:
            return []
        runs = who_runs(who_fence, plan.who, block.format) or [(0, 0)]
        return [_Run(place, held, *run, is_rare=False) for run in runs]

    def _tell(self, block: _Block) -> None:
        """Remember which events of the block's chunks may be meant, where that is told of all and they are few."""
        if block.found is None:
            return
        places, events = block.found.places, block.found.events
        counts = np.bincount(places, minlength=len(block.chunks))
        told = block.maybe & (block.chunks != 0) & (counts <= FEW)
        told[places[events == SOMEWHERE]] = False
        mine = told[places]
        self._told_chunks.append(block.chunks[places[mine]])
        self._told_places.append(events[mine].astype(np.int64))


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
    for name, words in plan.words:
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
        " FROM unnest(%(keys)s::bigint[]) WITH ORDINALITY AS asked (key, n) ORDER BY n), last_at, format"
        f" FROM usage_hint WHERE {' AND '.join(conditions)} ORDER BY last_at DESC, id DESC LIMIT %(limit)s",
        params,
    )


# Runs of bytes of one column of blocks, each by its number; a block that was made anew meanwhile has none.
_RUNS: Final = """
SELECT a.n, substring(h.{column} FROM a.start::integer FOR a.size::integer)
FROM unnest(%b, %b, %b) WITH ORDINALITY AS a (id, start, size, n) JOIN usage_hint h ON h.id = a.id
"""


def _read_runs(column: str, runs: Sequence[tuple[int, int, int]]) -> dict[int, bytes]:
    """Of blocks, by id, what lies from one byte to another, by the number of the run from 1 on."""
    ids, starts, ends = (np.array(values, dtype=np.int64) for values in zip(*runs, strict=True))
    asked = (Bigints(ids), Bigints(starts + 1), Bigints(ends - starts))
    return dict(fetch(_RUNS.format(column=column), asked, prepare=True))


def _ask_runs(blocks: list[_Block], runs: list[_Run], whos: Any) -> None:
    """Leave in each block what may hold, of one of the whos, a combination that is looked for."""
    if not runs or sum(run.end - run.start for run in runs) > _MAX_WHO_BYTES:
        return
    said = _read_runs("who_entries", [(blocks[run.block].id, run.start, run.end) for run in runs])
    own: dict[int, list[tuple[int, _Run]]] = {}
    for n, run in enumerate(runs, 1):
        own.setdefault(run.block, []).append((n, run))
    for place, asked in own.items():
        # A block that was made anew meanwhile says nothing.
        if all(n in said for n, _ in asked):
            block = blocks[place]
            held = asked[0][1].held
            if asked[0][1].is_rare:
                block.found = rare_entries_hold([(run.start, said[n]) for n, run in asked], held, whos)
            else:
                block.found = who_entries_hold(b"".join([said[n] for n, _ in asked]), held.combos, block.format)
            mask = np.zeros(len(block.chunks), dtype=bool)
            mask[block.found.places] = True
            block.maybe &= mask


def _ask_entries(blocks: list[_Block], asked: list[tuple[int, int, int, int, int]]) -> None:
    """Leave in each block what may hold one of each field's values."""
    if not asked:
        return
    size = ENTRY.itemsize
    # A block that was made anew meanwhile says nothing.
    said = _read_runs("entries", [(blocks[place].id, size * low, size * high) for place, *_, low, high in asked])
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
