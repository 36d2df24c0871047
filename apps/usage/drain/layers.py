"""Layers of counted ids and the room that their filters share.

All filters together stay within a bound. Where it is met those with most bits a key are halved, so that all get fuller
alike; nothing is forgotten, more is suspected.
"""

import logging
import threading
from dataclasses import dataclass

from apps.core.memory import machine_bytes
from apps.usage.drain.filter import Filter
from apps.usage.drain.runs import Run
from apps.usage.ingest.inbox import SLOTS

__all__ = ["Layer", "Layers", "filter_bound"]

logger = logging.getLogger(__name__)

# Ids that the first layer of a stripe is made for: 2.5 MB, of which what is not written to takes no memory.
FIRST = 1_000_000
# Up to here a layer is made for twice what its stripe has, beyond for as much: few layers, and little room in vain.
STEEP = 8_000_000
# Bits a key: of each eight stripes' ids one in 260 is then a suspect, which is looked up for some 40 µs.
BITS = 20
# With fewer on the average there are more ids than there is room for.
_ENOUGH_BITS = 12
# Below so many bits a key hardly any key is not a suspect: filters are not halved any further.
_LEAST_BITS = 4
_LEAST_BOUND = 128 * 1024 * 1024
_SHARE_OF_MEMORY = 16


def filter_bound(slots: int) -> int:
    """Bytes for the filters of a process with so many slots: its part of a sixteenth of the machine's memory."""
    return max(_LEAST_BOUND, machine_bytes() // _SHARE_OF_MEMORY * slots // SLOTS)


@dataclass(slots=True, eq=False)
class Layer:
    """What was counted in a part of a stripe. ``runs`` is replaced, never changed; newest first."""

    stripe: int
    filter: Filter
    runs: tuple[Run, ...] = ()
    # Still added to: by the one thread that prepares flushes.
    open: bool = True


class Layers:
    """Newest first. Lists and tuples are replaced under ``lock``, so whoever has one may go on reading it."""

    def __init__(self, bound: int) -> None:
        self.bound = bound
        self.lock = threading.Lock()
        self.all: tuple[Layer, ...] = ()
        # Bytes of a filter that will take the place of others once it is filled.
        self.reserved = 0
        self._told = False

    @property
    def bytes(self) -> int:
        return sum(layer.filter.bytes for layer in self.all) + self.reserved

    @property
    def ids(self) -> int:
        """As the filters count them: keys that are there twice, twice."""
        return sum(layer.filter.ids for layer in self.all)

    @property
    def full(self) -> bool:
        """Whether there are more ids than there is room for."""
        return self.ids * _ENOUGH_BITS > self.bound * 8

    def runs(self) -> list[Run]:
        """Each once: after compacting without room for a filter, several layers have the same one."""
        return list({id(run): run for layer in self.all for run in layer.runs}.values())

    def of(self, stripe: int) -> list[Layer]:
        return [layer for layer in self.all if layer.stripe == stripe]

    def for_new(self, stripe: int, ids: int) -> Layer:
        """The layer that so many new ids of the current stripe go to; begins one where the last is full."""
        own = self.of(stripe)
        last = own[0] if own and own[0].open else None
        if last is not None and last.filter.ids + ids // 2 <= last.filter.made_for:
            return last
        before = sum(layer.filter.ids for layer in own)
        # With hardly any room the first layers are small: all stripes need one.
        first = min(FIRST, self.bound // BITS)
        filter = self.new_filter(max(first, before * 2 if before < STEEP else before), BITS)
        if filter is None and last is not None:
            return last
        layer = Layer(stripe, filter or Filter(1, BITS))
        with self.lock:
            for older in own:
                older.open = False
            self.all = (layer, *self.all)
        return layer

    def new_filter(self, made_for: int, bits: float) -> Filter | None:
        """One for so many ids if there is room, with fewer bits where room is short, others being halved for it.

        None where all filters are as full as may be.
        """
        wanted = made_for * bits / 8
        while self.bytes + wanted > self.bound:
            self._tell()
            roomy = max((layer for layer in self.all if not layer.open), key=_bits_when_halved, default=None)
            if roomy is not None and _bits_when_halved(roomy) >= max(wanted * 4 / made_for, _LEAST_BITS):
                self._halve(roomy)
            elif wanted * 4 / made_for >= _LEAST_BITS:
                wanted /= 2
            else:
                return None
        return Filter(made_for, wanted * 8 / made_for)

    def _halve(self, layer: Layer) -> None:
        with self.lock:
            layer.filter = layer.filter.halved()

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "the filters of counted ids have the %d MiB they may take (USAGE_DEDUPE_FILTER_BYTES): counting stays"
                " exact and takes more of PostgreSQL the more ids come",
                self.bound >> 20,
            )

    def fit(self, layer: Layer) -> None:
        """Give back what a layer that is over has too much."""
        while _bits_when_halved(layer) >= BITS:
            self._halve(layer)

    def drop_until(self, stripe: int) -> None:
        """Forget the stripes up to this one."""
        if any(layer.stripe <= stripe for layer in self.all):
            with self.lock:
                self.all = tuple(layer for layer in self.all if layer.stripe > stripe)


def _bits_when_halved(layer: Layer) -> float:
    return layer.filter.bits_a_key / 2 if layer.filter.can_halve else 0.0
