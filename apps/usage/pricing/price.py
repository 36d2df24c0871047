"""One price: what it depends on, how long it is valid, what it makes of an event's tokens and how that is explained."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from apps.usage.pricing.tables import TOKEN_KINDS

__all__ = ["CONTEXT_BANDS", "ZERO_USAGE", "Explanation", "Line", "PriceClass", "PriceRow", "Priced", "TokenUsage"]

_PER_TOKEN = Fraction(1_000)  # USD per million tokens → nano-USD per token: 10^9 / 10^6
_PER_REQUEST = Fraction(1_000_000_000)
# Names of the bands of total input that a price may depend on, in rising order.
CONTEXT_BANDS = (">100k", ">200k")
_STANDARD = frozenset({"", "standard", "normal", "default", "auto", "none", "global", "not_available"})


class PriceClass(NamedTuple):
    """What a price depends on besides model and token kind. Empty strings and False are the standard."""

    service_tier: str = ""
    batch: bool = False
    geo: str = ""
    speed: str = ""
    context_band: str = ""

    @classmethod
    def of(cls, service_tier: str | None, geo: str | None, speed: str | None, context_band: str = "") -> "PriceClass":
        """The class of what a usage record says; ``service_tier: batch`` is the batch API."""
        tier = _word(service_tier)
        return cls("" if tier == "batch" else tier, tier == "batch", _word(geo), _word(speed), context_band)

    @property
    def conditions(self) -> tuple[str, ...]:
        """The multipliers that this class asks for."""
        asked = (
            "batch" if self.batch else "",
            f"tier:{self.service_tier}" if self.service_tier else "",
            f"geo:{self.geo}" if self.geo else "",
            f"speed:{self.speed}" if self.speed else "",
        )
        return tuple(name for name in asked if name)

    @property
    def bands(self) -> tuple[str, ...]:
        """The context bands that a call of this class has passed, the highest first: over 200k is over 100k too."""
        passed = CONTEXT_BANDS[: CONTEXT_BANDS.index(self.context_band) + 1] if self.context_band else ()
        return tuple(f"context:{band}" for band in reversed(passed))


def _word(value: str | None) -> str:
    word = (value or "").strip().lower()[:32]
    return "" if word in _STANDARD else word


class TokenUsage(NamedTuple):
    """What one event used: tokens by kind, and web searches."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    web_search: int = 0


ZERO_USAGE = TokenUsage()


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One price, valid in ``[from_us, to_us)`` (microseconds since 1970); exact."""

    model: str
    org_id: UUID | None
    from_us: int
    to_us: int
    units: Mapping[str, Fraction]
    multipliers: Mapping[str, Fraction]
    source: str

    def applied(self, price_class: PriceClass) -> dict[str, Fraction]:
        """The multipliers that apply to the tokens of a class; one that the price does not name is 1.

        Of the context bands that a call has passed, the highest that the price names applies.
        """
        names = [name for name in price_class.conditions if name in self.multipliers]
        names += [band for band in price_class.bands if band in self.multipliers][:1]
        return {name: self.multipliers[name] for name in names}

    def factor(self, price_class: PriceClass) -> Fraction:
        """The product of all multipliers that apply."""
        return math.prod(self.applied(price_class).values(), start=Fraction(1))

    def rates(self, price_class: PriceClass) -> tuple[Fraction, ...]:
        """Nano-USD for one of each of :data:`TOKEN_KINDS`; web searches go by the request, without multipliers."""
        factor = self.factor(price_class)
        tokens = tuple(self.units[kind] * _PER_TOKEN * factor for kind in TOKEN_KINDS[:-1])
        return (*tokens, self.units["web_search"] * _PER_REQUEST)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: ``count`` × ``unit`` (USD per million tokens, or per request) × ``multiplier``."""

    kind: str
    count: int
    unit: Fraction
    multiplier: Fraction
    nano_usd: Fraction


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a cost came about."""

    model: str
    source: str
    valid_from: datetime
    valid_to: datetime | None
    multipliers: Mapping[str, Fraction]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Priced:
    """A cost in integer nano-USD and how it came about; both None where there is no price."""

    nano_usd: int | None
    explanation: Explanation | None
