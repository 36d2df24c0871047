"""One event, and how its cost came about."""

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from apps.core.money import nano_to_str
from apps.usage.pricing.book import Explanation, PriceClass, TokenUsage, get_book
from apps.usage.selectors.raw import event_search

__all__ = ["event_explained"]

_BANDS = ((200_000, ">200k"), (100_000, ">100k"))


def event_explained(*, org_id: UUID, event_id: UUID) -> dict[str, Any] | None:
    """The event as ``GET /v1/events`` shows it, with ``cost_explanation``; None where it is not kept (any more)."""
    found = event_search(org_id=org_id, filters={"event_id": [str(event_id)]}, limit=1)
    if not found:
        return None
    body = found[0].body
    return {**body, "cost_explanation": _explanation(org_id, found[0].at, body)}


def _explanation(org_id: UUID, at: datetime, body: dict[str, Any]) -> dict[str, Any]:
    """What the present book says of the event, and whether that is what it costs."""
    explanation: dict[str, Any] = {"source": body["cost_source"], "price": None, "lines": [], "book_cost_usd": None}
    if body["model"] is None:
        return {**explanation, "note": "The event names no model, so it has no price."}
    split = body["cache_creation"]
    usage = TokenUsage(
        body["input_tokens"], body["output_tokens"], body["cache_read_input_tokens"],
        split["ephemeral_5m_input_tokens"], split["ephemeral_1h_input_tokens"],
        body["server_tool_use"]["web_search_requests"],
    )  # fmt: skip
    context = sum(usage) - usage.output - usage.web_search
    band = next((name for limit, name in _BANDS if context > limit), "")
    price_class = PriceClass.of(body["service_tier"], body["inference_geo"], body["speed"], band)
    priced = get_book().price(body["model"], price_class, at, usage, org_id=org_id)
    if priced.explanation is None or priced.nano_usd is None:
        return {**explanation, "note": "The price book has no price for this model at this time."}
    explanation |= {
        "price": _price(priced.explanation),
        "lines": _lines(priced.explanation),
        "book_cost_usd": nano_to_str(priced.nano_usd),
    }
    return {**explanation, "note": _note(body, nano_to_str(priced.nano_usd))}


def _price(explanation: Explanation) -> dict[str, Any]:
    return {
        "model": explanation.model,
        "source": explanation.source,
        "valid_from": explanation.valid_from.isoformat().replace("+00:00", "Z"),
        "valid_to": explanation.valid_to.isoformat().replace("+00:00", "Z") if explanation.valid_to else None,
        "multipliers": {name: _decimal(value) for name, value in explanation.multipliers.items()},
    }


def _lines(explanation: Explanation) -> list[dict[str, Any]]:
    return [
        {
            "kind": line.kind,
            "quantity": line.count,
            "unit_usd": _decimal(line.unit),
            "unit": "request" if line.kind == "web_search" else "million tokens",
            "multiplier": _decimal(line.multiplier),
            "usd": _decimal(line.nano_usd / 10**9),
        }
        for line in explanation.lines
    ]


def _note(body: dict[str, Any], book_cost: str) -> str:
    if body["cost_source"] == "unpriced":
        return "The event was counted without a price; the book has one now, and a repricing will use it."
    if body["cost_source"] == "reported":
        return "The cost is what the sender reported; the lines say what the book would have it cost."
    if body["cost_usd"] != book_cost:
        return "The event has the price that was in force when it was counted; the lines are of the present one."
    return "The lines add up to the cost, rounded once, half to even, to a billionth of a dollar."


def _decimal(value: Fraction) -> str:
    """The exact decimal where there is one within 18 places, else rounded to these."""
    return f"{(Decimal(value.numerator) / Decimal(value.denominator)):.18f}".rstrip("0").rstrip(".")
