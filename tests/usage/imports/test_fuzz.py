"""Imports of whatever bytes: each line is counted or named with a reason, nothing is unforeseen, nothing is held."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import zstandard
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.core.tenancy import org_scope
from apps.usage.drain.shard import drain_now
from apps.usage.imports import engine, job
from apps.usage.imports.content import MalformedFile, blocks
from apps.usage.imports.csv_rows import Header
from apps.usage.imports.lines import MAX_RECORD_BYTES, chunks, csv_records, lines
from apps.usage.imports.parse import parse_chunk
from apps.usage.models import Import, ImportProblem
from tests.cast import Cast, make_key
from tests.usage.engine.conftest import World, event, moment
from tests.usage.imports.conftest import PACKERS, anonymous, csv_of, jsonl, written
from tests.usage.imports.test_engine import upload

pytestmark = pytest.mark.usefixtures("committed")

DEEP = 5_000
GOOD = json.dumps(anonymous(timestamp=moment(hours=1))).encode()
NASTY_JSON = (
    b"{}", b"null", b"[]", b"NaN", b'{"event_id": NaN}',
    b'{"input_tokens": Infinity}', b'{"metadata": {"a": -Infinity}}',
    b"[" * DEEP, b'{"a":' * DEEP, b'{"metadata":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", b'"\\ud800"',
    GOOD[:-1] + b', "metadata": {"k": "\\ud800"}}', GOOD[:-1] + b', "session_id": "\\udc00\\ud800"}',
    GOOD[:-1] + b', "metadata": {"k": "\\u0000"}}', GOOD[:-1] + b', "model": "a", "model": "b"}',
    GOOD[:-1] + b', "model": "\x00"}', GOOD[:-1] + b', "input_tokens": 1e400}', GOOD[:-1] + b', "input_tokens": 1.5}',
    GOOD[:-1] + b', "input_tokens": 99999999999999999999999999}', GOOD[:-1] + b', "cost_usd": "1e999999999"}',
    GOOD[:-1] + b', "cost_usd": -0}', GOOD[:-1] + b', "latency_ms": true}', GOOD[:-1] + b', "nobody_knows": 1}',
    GOOD[:-1] + b', "metadata": ' + b"[" * 300 + b"]" * 300 + b"}", GOOD[:-1], GOOD + GOOD, GOOD.replace(b" ", b"\t"),
    b"\xff\xfe" + GOOD, b"\xef\xbb\xbf" + GOOD, b"\xed\xa0\x80", b"\xc0\x80", b"\r", b" \t ", b"\x00", b"\x1a",
    b"x" * (MAX_RECORD_BYTES + 1), GOOD[:-1] + b', "metadata": {"k": "' + b"y" * (1 << 20) + b'"}}',
)  # fmt: skip
COLUMNS = ["event_id", "timestamp", "event_type", "input_tokens", "cost_usd", "metadata", "metadata.a"]
NASTY_CELLS = (
    "", "\0", "\n", "\r", "\r\n", '"', '""', '"\n', ",", "\ufeff", "\U0001f600", "é", "1e5", "NaN", "Infinity", "-1",
    "{}", "[]", "{", '{"a": "\\ud800"}', '{"a": NaN}', '{"a": 1, "a": 2}', '{"a":' * 300 + "1" + "}" * 300,
    '{"a":' * 900 + "1" + "}" * 900, '{"a":' * DEEP, "9" * 40, "9" * 18, "١٢", "x" * 200_000, "api_call", "session",
    "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01", "2026-01-01T00:00:00+99:99",
)  # fmt: skip


def json_files() -> st.SearchStrategy[bytes]:
    line = st.one_of(
        st.just(GOOD),
        st.builds(lambda: json.dumps(event(event_id=str(uuid4()))).encode()),
        st.sampled_from(NASTY_JSON),
        st.binary(max_size=30),
        st.builds(lambda at, one: GOOD[:at] + one + GOOD[at:], st.integers(0, len(GOOD)), st.binary(max_size=3)),
    )
    return st.builds(
        lambda own, end: b"\n".join(own) + end, st.lists(line, min_size=1, max_size=12), st.sampled_from([b"", b"\n"])
    )


def csv_files() -> st.SearchStrategy[bytes]:
    cell = st.one_of(st.sampled_from(NASTY_CELLS), st.text(max_size=5), st.just(moment(hours=1)))
    good = st.builds(lambda: ["", moment(hours=1), "api_call", "3", "", "", ""])
    row = st.one_of(good, st.lists(cell, max_size=9), st.lists(cell, min_size=7, max_size=7))
    whole = st.builds(lambda rows: csv_of(COLUMNS, *rows), st.lists(row, max_size=10))
    torn = st.builds(
        lambda text, at, one: text[:at] + one + text[at:], whole, st.integers(0, 900), st.binary(max_size=4)
    )
    return st.one_of(whole, torn, st.builds(lambda rows: csv_of([*COLUMNS, "model", "model"], *rows), st.just([])))


def any_files() -> st.SearchStrategy[bytes]:
    plain = st.one_of(json_files(), csv_files(), st.binary(max_size=200))
    packed = st.builds(lambda text, name: PACKERS[name](text), plain, st.sampled_from(sorted(PACKERS)))
    cut = st.builds(lambda data, at: data[: at % (len(data) + 1)], packed, st.integers(0, 1 << 20))
    flipped = st.builds(
        lambda data, at, bit: data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if at < len(data) else data,
        packed, st.integers(0, 300), st.integers(0, 7),
    )  # fmt: skip
    return st.one_of(packed, cut, flipped).filter(bool)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr("apps.usage.imports.lines.CHUNK_RECORDS", 4)
    settings.USAGE_IMPORT_MAX_INFLATED_BYTES = 20_000_000


def test_whatever_comes_each_line_is_counted_or_named_and_again_counts_nothing(world: World, small: None) -> None:
    @hypothesis_settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(any_files())
    def check(content: bytes) -> None:
        first = imported(world, content)
        assert_accounted_for(world, first)
        again = imported(world, content)
        assert (again.state, again.accepted) == (first.state, 0), (again.failure, content[:200])
        assert (again.lines_read, again.rejected + again.repeated + again.duplicates) == (
            first.lines_read, first.accepted + first.duplicates + first.rejected + first.repeated,
        )  # fmt: skip

    check()
    drain_now()


def imported(world: World, content: bytes, seconds: float | None = None) -> Import:
    row = upload(world, content)
    while job.take_on(world.org_id, seconds=seconds) if seconds is not None else job.take_on(world.org_id):
        pass
    with org_scope(world.org_id):
        return Import.objects.get(pk=row.pk)


def refused(world: World, row: Import) -> list[ImportProblem]:
    with org_scope(world.org_id):
        return list(ImportProblem.objects.filter(of=row).order_by("line", "pk"))


def assert_accounted_for(world: World, row: Import) -> None:
    assert row.state in ("completed", "failed")
    assert "An unexpected error" not in row.failure, row.failure
    assert (row.state == "failed") == bool(row.failure)
    found = refused(world, row)
    assert len(found) == row.rejected
    for one in found:
        assert 1 <= one.line <= row.lines_read
        assert one.code
        assert one.detail
    if row.state == "completed":
        assert row.bytes_read == row.content_bytes


# ---------------------------------------------------------------------------------------------- memory
def big_lines() -> bytes:
    long = b'{"metadata": {"k": "' + b"y" * 5_000_000 + b'"}}'
    return b"\n".join([GOOD, long, GOOD, b"{" * 10_000_000, GOOD, b'"' + b"z" * 10_000_000])


@pytest.mark.parametrize("kind", ["jsonl", "csv", "quotes"])
def test_long_lines_and_cells_are_told_and_not_held(tmp_path: Path, kind: str) -> None:
    header = None
    if kind == "jsonl":
        content, long = big_lines(), 3
    elif kind == "csv":
        header = Header(",".join(COLUMNS).encode())
        cells = ["", moment(hours=1), "api_call", "1", "", "", "v" * 10_000_000]
        content, long = csv_of(COLUMNS, cells, ["", moment(hours=1), "api_call", "1", "", "", "v"], cells), 2
    else:
        header = Header(",".join(COLUMNS).encode())
        # A quote that nothing closes, and lines of nothing behind it.
        content, long = b",".join(name.encode() for name in COLUMNS) + b'\n"' + b"\n" * 3_000_000, 0
    path = written(tmp_path, gzip.compress(content, 1))
    del content
    tracemalloc.start()
    records = lines(blocks(path, limit=1 << 30))
    if header:
        records = csv_records(records)
        next(records)
    codes: list[str] = []
    for chunk in chunks(records):
        codes += [one.code for one in parse_chunk(chunk, header=header, content=b"").rejected]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes.count("too_long") == long
    assert peak < 100_000_000


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_small_archive_of_gigabytes_ends_at_the_bound(
    world: World, packed: str, settings: Any, tmp_path: Path
) -> None:
    settings.USAGE_IMPORT_MAX_INFLATED_BYTES = 50_000_000
    if packed == "gzip":
        # Members one behind the other: 2 GB of 2 MB.
        content = gzip.compress(bytes(100_000_000)) * 20
    else:
        # Frames of one byte repeated: 4 GB of a few hundred kilobytes.
        content = zstandard.ZstdCompressor().compress(bytes(100_000_000)) * 40
    assert len(content) < 3_000_000
    row = imported(world, b"".join((PACKERS[packed](GOOD + b"\n"), content)))
    assert (row.state, row.accepted) == ("failed", 0)
    assert "larger than 50,000,000 bytes" in row.failure


def test_a_bomb_in_a_bomb_is_not_opened(world: World) -> None:
    row = imported(world, gzip.compress(gzip.compress(bytes(10_000_000))))
    assert row.state == "failed" or row.accepted == 0


# ---------------------------------------------------------------------------------------------- over the API
BODIES = (
    b"", b"\0", b"\xff" * 100, b"\x1f\x8b", b"\x28\xb5\x2f\xfd", gzip.compress(b"")[:-3], b"[" * 100_000, b'"',
    "timestamp,event_type\n".encode("utf-16"), b"\xef\xbb\xbf", b"\n\n\n", b"timestamp,timestamp,event_type\n",
)  # fmt: skip
NAMES = ("%00", "..%2f..%2fetc%2fpasswd", "a" * 300, "%F0%9F%98%80", "%7f", "%ff%fe", "")


def test_a_request_of_whatever_is_taken_or_refused_in_words(cast: Cast) -> None:
    token = make_key(cast, scopes=("backfill",))[1]
    taken = 0
    for number, body in enumerate(BODIES):
        answer = Client().post(
            f"/v1/imports?name={NAMES[number % len(NAMES)]}", data=body, content_type="application/octet-stream",
            HTTP_AUTHORIZATION=f"Bearer {token}",
        )  # fmt: skip
        assert answer.status_code < 500, body[:20]
        if answer.status_code >= 400:
            assert answer.json()["detail"]
            continue
        taken += 1
        while job.take_on(cast.org.id):
            pass
        with org_scope(cast.org.id):
            assert "An unexpected error" not in Import.objects.get(pk=answer.json()["id"]).failure, body[:20]
    assert taken


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(MalformedFile):
        engine.content_of(written(tmp_path, b"\x1f\x8b\x08" + bytes(50)))
    assert engine.content_of(written(tmp_path, jsonl([])))[1] == 0
