"""CSV that is sent as it is read, and safe to open in a spreadsheet."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse

__all__ = ["safe_cell", "stream_csv"]

# A cell that starts so would be read as a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class _Line:
    """What the writer writes to: hands the line back."""

    def write(self, line: str) -> str:
        return line


def safe_cell(value: Any) -> str:
    """A value as a cell's text; text that would run as a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def stream_csv(name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> StreamingHttpResponse:
    """A download called ``name``.csv; a row is read when it is sent. ``rows`` open the scopes that they need."""
    writer = csv.writer(_Line())

    def lines() -> Iterator[str]:
        yield writer.writerow(header)
        for row in rows:
            yield writer.writerow([safe_cell(value) for value in row])

    response = StreamingHttpResponse(lines(), content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response
