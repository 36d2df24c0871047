"""How numbers and times are written for people (the exact value always stays within reach, in ``<data>``).

Money: from 100 no decimals, from 1 two, below four, from a million short. Big counts keep three digits and k, M, B, T.
Shares have one decimal under 10 %. Everything rounds half up. Minus is −, ranges take –.
"""

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

__all__ = [
    "change",
    "count",
    "day_label",
    "duration",
    "exact_money",
    "money",
    "number",
    "percent",
    "short",
    "utc_label",
]

Figure = Decimal | int | float | str

_UNITS = ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))
MINUS = "−"


def number(value: Any) -> Decimal:
    """Whatever a template hands over, as a Decimal; None and the empty string are 0."""
    if isinstance(value, Decimal):
        return value
    return Decimal(str(value)) if value not in (None, "") else Decimal(0)


def _rounded(value: Decimal, decimals: int) -> str:
    return f"{value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP):,}"


def _signed(value: Decimal, text: str) -> str:
    return MINUS + text if value < 0 else text


def money(value: Any) -> str:
    """``$26,201``, ``$5.26``, ``$0.0501``, ``$1.28M``."""
    amount = number(value)
    size = abs(amount)
    if size >= 999_999_500_000:
        text = f"${_rounded(size / 10**9, 0)}B"
    elif size >= 999_995_000:
        text = f"${_rounded(size / 10**9, 2)}B"
    elif size >= Decimal("999999.5"):
        text = f"${_rounded(size / 10**6, 2)}M"
    elif size >= Decimal("99.995"):
        text = f"${_rounded(size, 0)}"
    elif size >= Decimal("0.99995") or size == 0:
        text = f"${_rounded(size, 2)}"
    elif size < Decimal("0.00005"):
        return _signed(amount, "<$0.0001")
    else:
        text = f"${_rounded(size, 4)}"
    return _signed(amount, text)


def exact_money(value: Any) -> str:
    """Every digit there is, at least two decimals: ``$26,200.699655``."""
    amount = number(value)
    whole, _, decimals = f"{abs(amount):f}".partition(".")
    decimals = decimals.rstrip("0").ljust(2, "0")
    return _signed(amount, f"${int(whole):,}.{decimals}")


def short(value: Any) -> str:
    """Three digits and a unit: ``18.8M``, ``412``, ``1.28B``."""
    amount = number(value)
    size = abs(amount)
    for unit, letter in _UNITS:
        if size >= unit * Decimal("0.9995"):
            scaled = size / unit
            decimals = 0 if scaled >= Decimal("99.95") else 1 if scaled >= Decimal("9.995") else 2
            return _signed(amount, _rounded(scaled, decimals) + letter)
    return _signed(amount, _rounded(size, 0))


def count(value: Any) -> str:
    """A whole number with thousands marked: ``18,406``."""
    amount = number(value)
    return _signed(amount, _rounded(abs(amount), 0))


def percent(value: Any, *, signed: bool = False) -> str:
    """A share (0…1) as ``0.8%`` or ``41%``; ``signed`` puts + before a rise."""
    amount = number(value) * 100
    size = abs(amount)
    text = _rounded(size, 0 if size >= Decimal("9.95") or size == 0 else 1) + "%"
    if amount < 0 and text not in ("0.0%", "0%"):
        return MINUS + text
    return f"+{text}" if signed and amount > 0 else text


def duration(milliseconds: Any) -> str:
    """``830 ms``, ``8.45 s``, ``12.3 s``, ``2m 03s``, ``3h 04m``."""
    size = number(milliseconds)
    if size < Decimal("999.5"):
        return f"{_rounded(size, 0)} ms"
    if size < Decimal("59950"):
        return f"{_rounded(size / 1000, 2 if size < 9995 else 1)} s"
    seconds = int((size / 1000).quantize(Decimal(1), ROUND_HALF_UP))
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02d}s"
    return f"{seconds // 3600}h {seconds % 3600 // 60:02d}m"


def change(now: Any, before: Any) -> Decimal | None:
    """The relative change, or None where there was nothing before."""
    base = number(before)
    return None if base == 0 else (number(now) - base) / base


def day_label(day: date | datetime, *, year: bool = False) -> str:
    """``9 Nov``, or ``9 Nov 2026``."""
    return f"{day.day} {day:%b %Y}" if year else f"{day.day} {day:%b}"


def utc_label(at: datetime | None) -> str:
    """``24 Nov 2026, 10:04 UTC`` of an aware moment in UTC; a dash for None."""
    return f"{day_label(at, year=True)}, {at:%H:%M} UTC" if at else "–"
