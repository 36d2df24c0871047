"""Between rows of ``usage_event`` and chunks of ``usage_chunk``, for the migration that changes from one to the other."""

from itertools import islice
from typing import Any

import numpy as np

from apps.usage import chunks
from apps.usage.texts import joined

__all__ = ["chunks_to_rows", "rows_to_chunks"]

_ROW = (
    "(extract(epoch FROM ts) * 1000000)::bigint, session, who, what, latency_ms, flags, stop_reason, event_id,"
    " cost_nano, reported_nano, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,"
    " cache_write_1h_tokens, web_searches, request_id, detail, metadata"
)
_NAMES = (
    "ts", "session", "who", "what", "latency", "flags", "stop", "id", "cost", "reported", "input", "output",
    "cache_read", "write_5m", "write_1h", "web",
)  # fmt: skip


def rows_to_chunks(connection: Any) -> None:
    """Chunks for each organisation and day of dropping."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT org, drop_on FROM usage_event ORDER BY 1, 2")
        parts = cursor.fetchall()
    for org, drop_on in parts:
        with connection.connection.cursor(name="usage_rows") as rows:
            rows.itersize = chunks.MAX_EVENTS
            rows.execute(
                f"SELECT {_ROW} FROM usage_event WHERE org = %s AND drop_on = %s ORDER BY ts",
                [org, drop_on],
            )
            while group := list(islice(rows, chunks.MAX_EVENTS)):
                _write_chunk(connection, org, drop_on, group)


def _write_chunk(connection: Any, org: int, drop_on: Any, rows: list[tuple[Any, ...]]) -> None:
    values = list(zip(*rows, strict=True))
    columns: dict[str, Any] = {}
    for name, column in zip(_NAMES, values, strict=False):
        if name == "id":
            columns[name] = np.frombuffer(b"".join(value.bytes for value in column), dtype="V16")
        else:
            columns[name] = np.array(column, dtype=np.int64)
    requests, details, metadata = values[16:]
    columns["request"] = [chunks.request_hash(text.encode()) if text else 0 for text in requests]
    columns["flags"] = columns["flags"] | np.where([bool(text) for text in details], 16, 0)
    texts = [joined([(text or "").encode() for text in column]) for column in (requests, details, metadata)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_chunk (org, drop_on, first_at, last_at, events, whos, whats, scan, facts, texts)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                org, drop_on, chunks.at_micros(int(columns["ts"].min())), chunks.at_micros(int(columns["ts"].max())),
                len(rows), np.unique(columns["who"]).tolist(), np.unique(columns["what"]).tolist(),
                *chunks.packed(columns, (texts[0], texts[1], texts[2])),
            ],
        )  # fmt: skip


def chunks_to_rows(connection: Any) -> None:
    """The same events as rows."""
    from uuid import UUID

    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM usage_chunk ORDER BY org, id")
        numbers = [row[0] for row in cursor.fetchall()]
    for number in numbers:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {chunks.CHUNK_FIELDS} FROM usage_chunk WHERE id = %s", [number])
            chunk = chunks.chunk_of(cursor.fetchone())
            columns = [chunk.columns[name].tolist() for name in _NAMES]
            rows = []
            for values, texts in zip(zip(*columns, strict=True), chunk.texts(), strict=True):
                own = [*values, *(text.decode() or None for text in texts)]
                own[0], own[5], own[7] = chunks.at_micros(own[0]), own[5] & 15, UUID(bytes=bytes(own[7]))
                rows.append([*own, chunk.org, chunk.drop_on])
            cursor.executemany(
                "INSERT INTO usage_event (ts, session, who, what, latency_ms, flags, stop_reason, event_id, cost_nano,"
                " reported_nano, input_tokens, output_tokens, cache_read_tokens, cache_write_5m_tokens,"
                " cache_write_1h_tokens, web_searches, request_id, detail, metadata, org, drop_on)"
                f" VALUES ({', '.join(['%s'] * 21)})",
                rows,
            )
