"""The list prices that come with MindWeave."""

import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

__all__ = ["list_prices"]

_FILE = Path(__file__).with_name("list_prices.toml")
_UNITS = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


def list_prices() -> Iterator[dict[str, Any]]:
    """The fields of a ``Price`` for each model of the file."""
    document = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    begin = datetime.combine(document["valid_from"], time(), tzinfo=UTC)
    for price in document["price"]:
        for model in price["models"]:
            yield {
                "model": model,
                "valid_from": begin,
                "web_search": Decimal(document["web_search"]),
                "multipliers": {"batch": document["batch"], **price.get("multipliers", {})},
                "source": f"{document['source']}, read {document['read_on']}",
                **{unit: Decimal(price[unit]) for unit in _UNITS},
            }
