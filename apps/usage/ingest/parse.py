"""Reading a column of UUIDs or timestamps at once.

Both take the strings of a whole batch. The common spellings are read by numpy, anything else one by one; what cannot
be read is marked, never raised: one bad event must not cost the batch.
"""

import re
from binascii import unhexlify
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from uuid import UUID

import numpy as np
import numpy.typing as npt

__all__ = ["is_uuid", "parse_time", "parse_timestamps", "parse_uuid", "parse_uuids"]

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|z|[+-]\d\d:\d\d)", re.ASCII)
_DATE = re.compile(rb"\d{4}-\d\d-\d\d")
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
_DASHES = (8, 13, 18, 23)
# The digits between them, and where they lie once the dashes are gone.
_GROUPS = ((0, 8, 0), (9, 13, 8), (14, 18, 12), (19, 23, 16), (24, 36, 20))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_IN_MONTH = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
_BAD_TIME = np.iinfo(np.int64).min

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def parse_uuids(values: Sequence[str]) -> tuple[bytes, list[int]]:
    """The 16 bytes of each UUID, one after the other, and the positions of strings that are none (zeroes there)."""
    joined, count = "".join(values), len(values)
    if set(map(len, values)) == {36} and joined.isascii() and all(joined[at::36] == "-" * count for at in _DASHES):
        rows = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(count, 36)
        digits = np.empty((count, 32), dtype=np.uint8)
        for start, end, place in _GROUPS:
            digits[:, place : place + end - start] = rows[:, start:end]
        try:
            return unhexlify(digits.tobytes()), []
        except ValueError:
            pass
    return _parse_uuids_singly(values)


def _parse_uuids_singly(values: Sequence[str]) -> tuple[bytes, list[int]]:
    parts: list[bytes] = []
    bad: list[int] = []
    for position, value in enumerate(values):
        parsed = parse_uuid(value)
        parts.append(parsed.bytes if parsed else bytes(16))
        if parsed is None:
            bad.append(position)
    return b"".join(parts), bad


def is_uuid(value: str) -> bool:
    """Whether it is a UUID as RFC 9562 spells it, or 32 hexadecimal digits."""
    return _UUID.fullmatch(value) is not None


def parse_uuid(value: str | None) -> UUID | None:
    """A UUID as RFC 9562 spells it, or as 32 hexadecimal digits; ``UUID()`` would take spaces and underscores too."""
    return UUID(value) if value is not None and is_uuid(value) else None


# Below this many, reading them one by one is quicker than setting numpy going.
_FEW = 24


def parse_timestamps(values: Sequence[str]) -> tuple[Ints, list[int]]:
    """Microseconds since 1970 (UTC) of each RFC 3339 timestamp, and the positions of strings that are none."""
    if len(values) < _FEW:
        out = _parse_times_singly(values)
        return out, [position for position, value in enumerate(out.tolist()) if value == _BAD_TIME]
    lengths = set(map(len, values))
    if len(lengths) == 1:
        out = _parse_equal(values, lengths.pop())
    else:
        by_length = np.array(list(map(len, values)))
        out = np.empty(len(values), dtype=np.int64)
        for length in lengths:
            where = np.flatnonzero(by_length == length)
            out[where] = _parse_equal([values[i] for i in where.tolist()], length)
    return out, np.flatnonzero(out == _BAD_TIME).tolist() if out.min() == _BAD_TIME else []


def _parse_equal(values: Sequence[str], length: int) -> Ints:
    """Timestamps of one length."""
    joined = "".join(values)
    if not 20 <= length <= 35 or not joined.isascii():
        return _parse_times_singly(values)
    matrix = np.frombuffer(joined.encode(), dtype=np.uint8).reshape(-1, length)
    if (matrix[:, -1] == 90).all():  # "Z"
        body, offset = length - 1, None
    elif length >= 25 and (matrix[:, -3] == 58).all():
        body = length - 6
        offset = _offset_minutes(matrix[:, -6:])
        if offset is None:
            return _parse_times_singly(values)
    else:
        return _parse_times_singly(values)
    if body != 19 and not (21 <= body <= 29):
        return _parse_times_singly(values)
    micros = _parse_body(matrix[:, :body])
    if micros is None:
        return _parse_times_singly(values)
    return micros if offset is None else micros - offset * 60_000_000


def _digits(columns: Bytes) -> Ints | None:
    """The number each row of ASCII digits spells, or None where a row has anything else."""
    figures = columns - np.uint8(48)
    if figures.max(initial=0) > 9:
        return None
    powers = 10 ** np.arange(columns.shape[1] - 1, -1, -1, dtype=np.int64)
    result: Ints = figures.astype(np.int64) @ powers
    return result


def _offset_minutes(tail: Bytes) -> Ints | None:
    """``+HH:MM`` as signed minutes."""
    sign = tail[:, 0]
    hours, minutes = _digits(tail[:, 1:3]), _digits(tail[:, 4:6])
    if hours is None or minutes is None or not np.isin(sign, (43, 45)).all():
        return None
    if hours.max() > 23 or minutes.max() > 59:
        return None
    result: Ints = np.where(sign == 43, 1, -1) * (hours * 60 + minutes)
    return result


_CLOCK_PLACES = (11, 12, 14, 15, 17, 18)
# Microseconds that a digit of the clock, then of the fraction, stands for.
# As doubles, whose products with digits are exact here and quick.
_CLOCK_WEIGHTS = np.array([36_000, 3_600, 600, 60, 10, 1]) * 1e6
_FRACTION_WEIGHTS = 10.0 ** np.arange(5, -1, -1)


def _parse_body(matrix: Bytes) -> Ints | None:
    """``YYYY-MM-DDTHH:MM:SS[.f…]`` as microseconds as if UTC, or None unless every row is well formed."""
    digits = matrix.shape[1] - 20
    if (matrix[:, :17] == matrix[0, :17]).all():
        return _parse_seconds(matrix, digits)
    places = [*_CLOCK_PLACES, *range(20, 20 + max(digits, 0))]
    figures = matrix[:, places] - np.uint8(48)
    # The upper halves of hours (2), minutes and seconds (5), and hours beyond 23.
    if figures.max() > 9 or figures[:, 0].max() > 2 or figures[:, (2, 4)].max() > 5:
        return None
    if (figures[:, 0] * 10 + figures[:, 1]).max() > 23:
        return None
    if not (
        (matrix[:, (13, 16)] == 58).all()
        and ((matrix[:, 10] == 84) | (matrix[:, 10] == 116) | (matrix[:, 10] == 32)).all()
    ):
        return None
    if digits >= 0 and not (matrix[:, 19] == 46).all():
        return None
    days = _parse_days(matrix[:, :10])
    if days is None:
        return None
    kept = min(max(digits, 0), 6)
    weights = np.concatenate((_CLOCK_WEIGHTS, _FRACTION_WEIGHTS[:kept]))
    clock = figures[:, : 6 + kept].astype(np.float64) @ weights
    micros: Ints = days * 86_400_000_000 + clock.astype(np.int64)
    return micros


# Microseconds that a digit of the seconds, then of the fraction, stands for; and where these digits are.
_SECOND_WEIGHTS = [10.0 ** np.arange(7, 5 - kept, -1) for kept in range(7)]
_SECOND_PLACES = [[17, 18, *range(20, 20 + kept)] for kept in range(7)]


def _parse_seconds(matrix: Bytes, digits: int) -> Ints | None:
    """:func:`_parse_body` where all lie in one minute, as most batches do: it is looked at once."""
    minute = _minute(matrix[0, :17].tobytes())
    if minute is None or (digits >= 0 and not (matrix[:, 19] == 46).all()):
        return None
    if digits > 6 and (matrix[:, 26:] - np.uint8(48)).max() > 9:
        return None
    kept = min(max(digits, 0), 6)
    figures = matrix[:, _SECOND_PLACES[kept]] - np.uint8(48)
    if figures.max() > 9 or figures[:, 0].max() > 5:
        return None
    # Of one type, the product is BLAS's.
    micros: Ints = (figures.astype(np.float64) @ _SECOND_WEIGHTS[kept]).astype(np.int64) + minute
    return micros


@lru_cache(maxsize=512)
def _minute(text: bytes) -> int | None:
    """Microseconds since 1970 of ``YYYY-MM-DDTHH:MM:``, as if UTC."""
    return parse_time(f"{text.decode()}00Z")


def _parse_days(dates: Bytes) -> Ints | None:
    """Days since 1970 of ``YYYY-MM-DD``; a batch mostly lies in one day, which is then known from the one before."""
    if (dates == dates[0]).all():
        day_number = _day_number(dates[0].tobytes())
        return None if day_number is None else np.array([day_number])
    if not (dates[:, (4, 7)] == 45).all():
        return None
    year, month, day = _digits(dates[:, :4]), _digits(dates[:, 5:7]), _digits(dates[:, 8:10])
    if year is None or month is None or day is None:
        return None
    if month.min() < 1 or month.max() > 12 or day.min() < 1 or year.min() < 1 or (day > _DAYS_IN_MONTH[month]).any():
        return None
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    if ((month == 2) & (day == 29) & ~leap).any():
        return None
    # Days from civil date (H. Hinnant, "chrono-compatible low-level date algorithms").
    shifted = year - (month <= 2)
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    day_of_era = year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year
    result: Ints = era * 146097 + day_of_era - 719468
    return result


@lru_cache(maxsize=512)
def _day_number(text: bytes) -> int | None:
    """Days since 1970 of one date."""
    try:
        return date.fromisoformat(text.decode()).toordinal() - _EPOCH.toordinal() if _DATE.fullmatch(text) else None
    except ValueError:
        return None


def _parse_times_singly(values: Sequence[str]) -> Ints:
    out = np.full(len(values), _BAD_TIME, dtype=np.int64)
    for position, value in enumerate(values):
        micros = parse_time(value)
        if micros is not None:
            out[position] = micros
    return out


def parse_time(value: str) -> int | None:
    """Microseconds since 1970 (UTC) of an RFC 3339 timestamp, or None."""
    found = _RFC3339.fullmatch(value)
    if found is None:
        return None
    date, clock, fraction, zone = found.groups()
    leap_second = clock.endswith(":60")
    if leap_second:
        clock = clock[:-2] + "59"
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{'+00:00' if zone in 'Zz' else zone}")
        micros = (moment - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return None
    micros += int((fraction or "0")[:6].ljust(6, "0"))
    return micros + 1_000_000 if leap_second else micros
