"""Rows of sums, and those of days that are over: read once and remembered as long as they stay the same.

An organisation's past is everything before its yesterday. Whatever changes sums there - late events, imports, new
prices, a claim, a rebuild - counts up ``usage_org.past_version`` in its own transaction, and the version is part of the
key: so what is remembered is never older than what could be read (decision 0011).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from hashlib import sha256
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection

from apps.core.clock import now
from apps.core.remember import remember
from apps.usage import histogram

__all__ = ["PAST_SECONDS", "SUMS", "Row", "parts", "past_rows", "rows_of"]

SUMS: Final = (
    "events", "calls", "tool_calls", "errors", "call_errors", "input_tokens", "output_tokens", "cache_read_tokens",
    "cache_creation_tokens", "web_searches", "cost_nano", "reported_nano", "unpriced",
)  # fmt: skip
# How long a question that nobody asks again takes room; what is remembered does not grow old.
PAST_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Row:
    """Sums (:data:`SUMS`, in order) of one key: its bucket, then the values of its dimensions."""

    key: tuple[Any, ...]
    sums: tuple[int, ...]
    latencies: bytes

    def __add__(self, other: "Row") -> "Row":
        sums = tuple(a + b for a, b in zip(self.sums, other.sums, strict=True))
        return Row(self.key, sums, self.latencies + other.latencies)


def parts(start: datetime, end: datetime, zone: ZoneInfo) -> list[tuple[datetime, datetime, bool]]:
    """``[start, end)`` cut where the organisation's yesterday began; what lies before is past."""
    today = now().astimezone(zone).date()
    cut = datetime.combine(today - timedelta(days=1), time(), zone)
    if end <= cut:
        return [(start, end, True)]
    return [(start, end, False)] if start >= cut else [(start, cut, True), (cut, end, False)]


def rows_of(sql: str, params: Mapping[str, Any]) -> list[Row]:
    """Read now. The statement's columns are the key's, the sums, and the histogram of latencies or NULL."""
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return [_row(found) for found in cursor.fetchall()]


def past_rows(sql: str, params: Mapping[str, Any], version: int) -> list[Row]:
    """The same for a time that is over, in an organisation's (``params["org"]``) past of this version."""
    said = sha256(repr((sql, sorted(params.items()))).encode()).hexdigest()
    kept = remember(
        f"usage:past:{params['org']}:{version}:{said}", lambda: _compacted(rows_of(sql, params)), seconds=PAST_SECONDS
    )
    return [Row(*each) for each in kept]


def _row(found: tuple[Any, ...]) -> Row:
    at = len(found) - 1 - len(SUMS)
    return Row(found[:at], tuple(int(value or 0) for value in found[at:-1]), bytes(found[-1] or b""))


def _compacted(rows: list[Row]) -> list[tuple[tuple[Any, ...], tuple[int, ...], bytes]]:
    """As plain tuples: objects take three times as long to unpickle."""
    return [
        (row.key, row.sums, histogram.compact(row.latencies) if row.latencies else row.latencies) for row in rows
    ]  # fmt: skip
