"""Writes of the price book. Each raises the book's version, so every process prices by it within a second."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q

from apps.accounts.selectors import org_get
from apps.audit.services import record
from apps.core import clock
from apps.core.errors import Conflict, FieldError, NotFound, ValidationFailed
from apps.events.services import publish
from apps.usage.models.prices import Price, PriceBookVersion
from apps.usage.pricing.book import CONTEXT_BANDS, TOKEN_KINDS, forget_book
from apps.usage.pricing.models_names import canonical_model

__all__ = ["price_end", "price_set"]

# What fits the columns: twelve digits before the point, twelve after.
_MOST = Decimal(10) ** 12
_FINEST = -12
_MULTIPLIER = re.compile(rf"^(batch|(tier|geo|speed):[a-z0-9_.-]{{1,32}}|context:({'|'.join(CONTEXT_BANDS)}))$")


@transaction.atomic
def price_set(
    *,
    model: str,
    valid_from: datetime,
    units: Mapping[str, Decimal],
    source: str,
    valid_to: datetime | None = None,
    multipliers: Mapping[str, Decimal] | None = None,
    org_id: UUID | None = None,
) -> UUID:
    """Set what ``model`` costs in ``[valid_from, valid_to)``, for one organisation or, without, for all; the row's id.

    ``units`` names each of ``TOKEN_KINDS``: USD per million tokens, and per web search. A price still open at
    ``valid_from`` ends there; any other overlap is a :class:`Conflict`. What was counted before keeps its cost.
    """
    name = canonical_model(model)
    factors = dict(multipliers or {})
    _check(name, units, factors, source, valid_from, valid_to)
    if org_id is not None:
        org_get(org_id)
    _next_version()
    _make_room(name, org_id, valid_from, valid_to)
    price = Price.objects.create(
        org_id=org_id, model=name, valid_from=valid_from, valid_to=valid_to, source=source.strip(),
        multipliers={condition: str(factor) for condition, factor in sorted(factors.items())}, **units,
    )  # fmt: skip
    _tell(price, "price.set", after=_described(price))
    return price.pk


@transaction.atomic
def price_end(*, price_id: UUID, valid_to: datetime) -> None:
    """End a price before its time; from ``valid_to`` on the model has no price until another is set."""
    _next_version()
    price = Price.objects.filter(pk=price_id).first()
    if price is None:
        raise NotFound()
    if valid_to <= price.valid_from or (price.valid_to is not None and valid_to >= price.valid_to):
        raise ValidationFailed(
            "The end must lie inside the price's period",
            errors=[{"pointer": "/valid_to", "detail": "after its start, before its present end"}],
        )
    before = _described(price)
    price.valid_to = valid_to
    price.save(update_fields=["valid_to", "updated_at"])
    _tell(price, "price.ended", before=before, after=_described(price))


def _next_version() -> None:
    """The counter's row is the lock too: one writer of the book at a time."""
    if not PriceBookVersion.objects.filter(pk=1).update(version=F("version") + 1, changed_at=clock.now()):
        PriceBookVersion.objects.create(pk=1, version=1)
    transaction.on_commit(forget_book)


def _make_room(model: str, org_id: UUID | None, start: datetime, end: datetime | None) -> None:
    overlapping = Price.objects.filter(Q(valid_to__isnull=True) | Q(valid_to__gt=start), org_id=org_id, model=model)
    if end is not None:
        overlapping = overlapping.filter(valid_from__lt=end)
    for price in overlapping:
        if price.valid_to is not None or price.valid_from >= start or end is not None:
            raise Conflict(
                f"{model} has a price from {price.valid_from.isoformat()} that this one would overlap",
                code="price_overlaps",
            )
        before = _described(price)
        price.valid_to = start
        price.save(update_fields=["valid_to", "updated_at"])
        _tell(price, "price.ended", before=before, after=_described(price))


def _check(
    model: str,
    units: Mapping[str, Decimal],
    multipliers: Mapping[str, Decimal],
    source: str,
    valid_from: datetime,
    valid_to: datetime | None,
) -> None:
    problems: list[FieldError] = []
    if not 0 < len(model) <= 200:
        problems.append({"pointer": "/model", "detail": "1 to 200 characters"})
    if not 0 < len(source.strip()) <= 200:
        problems.append({"pointer": "/source", "detail": "where the price comes from, 1 to 200 characters"})
    if valid_to is not None and valid_to <= valid_from:
        problems.append({"pointer": "/valid_to", "detail": "after valid_from"})
    if units.keys() != set(TOKEN_KINDS):
        problems.append({"pointer": "/units", "detail": f"each of {', '.join(TOKEN_KINDS)}"})
    problems += [
        {"pointer": f"/units/{kind}", "detail": "0 or more, at most twelve digits on either side of the point"}
        for kind, unit in units.items()
        if not _fits(unit)
    ]
    problems += [
        {"pointer": f"/multipliers/{name}", "detail": "batch, tier:, geo:, speed: or context:, and a factor above 0"}
        for name, factor in multipliers.items()
        if not _MULTIPLIER.match(name) or not _fits(factor) or not Decimal(factor)
    ]
    if problems:
        raise ValidationFailed("This price is not valid", errors=problems)


def _fits(value: Decimal) -> bool:
    try:
        number = Decimal(value)
    except (InvalidOperation, TypeError):
        return False
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and 0 <= number < _MOST and exponent >= _FINEST


def _described(price: Price) -> dict[str, object]:
    return {
        "model": price.model,
        "valid_from": price.valid_from,
        "valid_to": price.valid_to,
        "units": {kind: str(getattr(price, kind)) for kind in TOKEN_KINDS},
        "multipliers": price.multipliers,
        "source": price.source,
    }


def _tell(
    price: Price, action: str, *, before: dict[str, object] | None = None, after: dict[str, object] | None = None
) -> None:
    record(
        action=action, org_id=price.org_id, target_type="price", target_id=price.pk, target_label=str(price),
        before=before, after=after,
    )  # fmt: skip
    publish(
        type="usage.price_changed",
        org_id=price.org_id,
        key=None if price.org_id else "prices",
        data={
            "price_id": str(price.pk),
            "model": price.model,
            "valid_from": price.valid_from.isoformat(),
            "valid_to": price.valid_to.isoformat() if price.valid_to else None,
        },
    )
