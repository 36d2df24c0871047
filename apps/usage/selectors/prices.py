"""The book of prices as it applies to one organisation, and what has no price."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Q

from apps.core.clock import now
from apps.core.errors import NotFound
from apps.usage.models.prices import Price
from apps.usage.pricing.book import TOKEN_KINDS
from apps.usage.pricing.models_names import canonical_model
from apps.usage.selectors.aggregate import usage_aggregate

__all__ = ["UNPRICED_DAYS", "PriceInfo", "Unpriced", "own_price", "price_for", "price_list", "unpriced_models"]

UNPRICED_DAYS = 28


@dataclass(frozen=True, slots=True)
class PriceInfo:
    """A price. ``units`` are USD per million tokens by kind, per request for web searches; ``own``: not the list's.

    ``state`` is ``now``, ``later``, ``past``, or ``covered``: a list price in force that the own one goes before.
    """

    id: UUID
    model: str
    own: bool
    valid_from: datetime
    valid_to: datetime | None
    units: dict[str, Decimal]
    multipliers: dict[str, str]
    source: str
    state: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A model whose events have no price: how many of the last :data:`UNPRICED_DAYS` days."""

    model: str
    events: int


def price_list(*, org_id: UUID, text: str = "", past: bool = False) -> list[PriceInfo]:
    """Prices by model, an organisation's own before the list's, newest first; those that ended only with ``past``."""
    moment = now()
    rows = Price.objects.filter(Q(org_id=org_id) | Q(org_id__isnull=True))
    if text:
        rows = rows.filter(model__icontains=text)
    found = list(rows)
    covered = {row.model for row in found if row.org_id is not None and _state(row, moment) == "now"}
    infos = [_info(row, moment, covered) for row in found]
    infos.sort(key=lambda price: (price.model, not price.own, -price.valid_from.timestamp()))
    return [price for price in infos if past or price.state != "past"]


def _state(row: Price, moment: datetime) -> str:
    if row.valid_to is not None and row.valid_to <= moment:
        return "past"
    return "now" if row.valid_from <= moment else "later"


def _info(row: Price, moment: datetime, covered: set[str]) -> PriceInfo:
    state, own = _state(row, moment), row.org_id is not None
    return PriceInfo(
        id=row.pk,
        model=row.model,
        own=own,
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        units={kind: getattr(row, kind) for kind in TOKEN_KINDS},
        multipliers=dict(sorted(row.multipliers.items())),
        source=row.source,
        state="covered" if state == "now" and not own and row.model in covered else state,
    )


def price_for(*, org_id: UUID, model: str) -> PriceInfo | None:
    """The price of a model in force now for the organisation, or None."""
    name = canonical_model(model)
    return next(
        (price for price in price_list(org_id=org_id, text=name) if price.model == name and price.state == "now"), None
    )


def own_price(*, org_id: UUID, price_id: UUID) -> PriceInfo:
    """One of the organisation's own prices; :class:`NotFound` for a list price and for what is another's."""
    row = Price.objects.filter(pk=price_id, org_id=org_id).first()
    if row is None:
        raise NotFound()
    return _info(row, now(), set())


def unpriced_models(*, org_id: UUID, timezone: str) -> list[Unpriced]:
    """Models with events that no price was found for, the most events first."""
    zone = ZoneInfo(timezone)
    end = datetime.combine(now().astimezone(zone).date() + timedelta(days=1), time(), zone)
    start = datetime.combine(end.date() - timedelta(days=UNPRICED_DAYS), time(), zone)
    answer = usage_aggregate(
        org_id=org_id, start=start, end=end, timezone=timezone, org_timezone=timezone, group_by=["model"], latency=False
    )
    rows = [Unpriced(row.group["model"] or "", row.metrics.unpriced) for row in answer.data if row.metrics.unpriced]
    return sorted(rows, key=lambda row: (-row.events, row.model))
