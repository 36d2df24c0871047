"""Money: integer nano-USD inside, decimal strings in USD outside."""

from decimal import Decimal

__all__ = ["NANO", "nano_to_decimal", "nano_to_str"]

NANO = 1_000_000_000


def nano_to_decimal(nano: int) -> Decimal:
    """The exact amount in USD."""
    return Decimal(nano).scaleb(-9)


def nano_to_str(nano: int) -> str:
    """The exact amount in USD as JSON carries it: six decimals, up to nine where needed, never an exponent."""
    sign, value = ("-", -nano) if nano < 0 else ("", nano)
    whole, part = divmod(value, NANO)
    digits = f"{part:09d}"
    return f"{sign}{whole}.{digits[:6]}{digits[6:].rstrip('0')}"
