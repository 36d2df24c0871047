"""Files into records into events: what is packed, what is broken, what is cut where."""

import gzip
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.imports import lines as cutting
from apps.usage.imports.content import MalformedFile, blocks
from apps.usage.imports.csv_rows import Header, RowError
from apps.usage.imports.lines import MAX_RECORD_BYTES, Record, chunks, csv_records, lines
from tests.usage.imports.conftest import PACKERS, written

LIMIT = 1 << 30


def content(path: Path, start: int = 0, limit: int = LIMIT) -> bytes:
    return b"".join(blocks(path, limit=limit, start=start))


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize("size", [0, 1, 300_000, 2_000_000])
def test_what_was_packed_comes_out_from_any_place_on(tmp_path: Path, packed: str, size: int) -> None:
    text = bytes(i * 7 % 251 for i in range(size))
    path = written(tmp_path, PACKERS[packed](text))
    assert content(path) == text
    for start in (0, size // 3, size):
        assert content(path, start) == text[start:]


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_several_packed_files_one_behind_the_other_are_one(tmp_path: Path, packed: str) -> None:
    pack = PACKERS[packed]
    assert content(written(tmp_path, pack(b"one\n") + pack(b"two\n"))) == b"one\ntwo\n"


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_packed_file_that_was_cut_off_anywhere_is_noticed(tmp_path: Path, packed: str) -> None:
    whole = PACKERS[packed](bytes(range(256)) * 50)
    for cut in range(4, len(whole)):
        with pytest.raises(MalformedFile, match=r"ends early|is broken"):
            content(written(tmp_path, whole[:cut]))


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_packed_file_with_a_flipped_byte_is_noticed(tmp_path: Path, packed: str) -> None:
    whole = bytearray(
        gzip.compress(b"abc" * 9000)
        if packed == "gzip"
        else zstandard.ZstdCompressor(write_checksum=True).compress(b"abc" * 9000)
    )
    whole[len(whole) // 2] ^= 0xFF
    with pytest.raises(MalformedFile):
        content(written(tmp_path, bytes(whole)))


def test_something_else_behind_a_gzip_file_is_noticed_and_padding_is_not_minded(tmp_path: Path) -> None:
    assert content(written(tmp_path, gzip.compress(b"x") + b"\0" * 512)) == b"x"
    with pytest.raises(MalformedFile):
        content(written(tmp_path, gzip.compress(b"x") + b"rubbish"))


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_bomb_ends_at_the_bound_and_fills_no_memory(tmp_path: Path, packed: str) -> None:
    path = written(tmp_path, PACKERS[packed](bytes(200_000_000)))
    tracemalloc.start()
    with pytest.raises(MalformedFile, match="larger than 100,000,000 bytes"):
        for _ in blocks(path, limit=100_000_000):
            pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 80_000_000


def cut(text: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(text), size):
        yield text[at : at + size]


@given(st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"")), max_size=9), st.booleans(), st.data())
def test_lines_are_the_same_however_the_bytes_come_and_can_be_taken_up_behind_any(
    texts: list[bytes], ended: bool, data: Any
) -> None:
    text = b"\n".join(texts) + (b"\n" if ended else b"")
    found = list(lines(cut(text, data.draw(st.integers(1, 7)))))
    assert b"\n".join(record.data or b"" for record in found) + (b"\n" if text.endswith(b"\n") else b"") == text
    assert [record.line for record in found] == list(range(1, len(found) + 1))
    for record in found:
        again = list(lines([text[record.end :]], line=record.last, offset=record.end))
        assert again == found[record.last :]


def test_a_line_without_end_is_told_and_not_held() -> None:
    text = b"a\n" + b"x" * (3 * MAX_RECORD_BYTES) + b"\nb\n" + b"y" * (2 * MAX_RECORD_BYTES)
    found = list(lines(cut(text, 50_000)))
    assert [(record.line, record.data) for record in found] == [(1, b"a"), (2, None), (3, b"b"), (4, None)]
    assert [record.end for record in found][-1] == len(text)


def csv_lines(text: bytes) -> list[Record]:
    return list(csv_records(lines([text])))


def test_a_quoted_cell_may_go_on_in_further_lines() -> None:
    found = csv_lines(b'a,"one\ntwo ""2""\n",b\nc\n')
    assert [(record.line, record.last, record.data) for record in found] == [
        (1, 3, b'a,"one\ntwo ""2""\n",b'), (4, 4, b"c"),
    ]  # fmt: skip


def test_a_quote_that_nothing_closes_costs_its_own_line_only() -> None:
    many = MAX_RECORD_BYTES // 4 + 10
    found = csv_lines(b'a,"open\n' + b"b,c\n" * many)
    assert len(found) == many + 1
    assert (found[0].data, found[1].data, found[-1].line) == (b'a,"open', b"b,c", many + 1)
    at_the_end = csv_lines(b'a,"open\nb,c\n')
    assert [record.data for record in at_the_end] == [b'a,"open', b"b,c"]


def test_chunks_are_bounded_in_lines_and_in_bytes_and_pass_over_blank_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "CHUNK_RECORDS", 3)
    monkeypatch.setattr(cutting, "CHUNK_BYTES", 50)
    text = b"1\n\n2\n  \n3\n" + b"x" * 60 + b"\n4\n\n\n"
    found = list(chunks(lines([text])))
    assert [[record.line for record in chunk.records] for chunk in found] == [[1, 3, 5], [6], [7]]
    assert [chunk.last for chunk in found] == [5, 6, 9]
    assert found[-1].end == len(text)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"timestamp,event_type,tokens", "'tokens', is not a field"),
        (b"timestamp,event_type,timestamp", "'timestamp' twice"),
        (b"timestamp,model", "'event_type'"),
        (b"timestamp,event_type,cache_creation", "'cache_creation', is not a field"),
        (b"timestamp,event_type,cache_creation.ephemeral_9h", "is not a field"),
        (b"timestamp,event_type,metadata.", "is not a field"),
        (b'timestamp,"event_type', "cannot be read"),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "is not a field|does not name"),
    ],
)
def test_a_header_that_cannot_be_says_what_is_wrong(line: bytes, sentence: str) -> None:
    with pytest.raises(MalformedFile, match=sentence):
        Header(line)


def test_a_row_becomes_the_event_it_means() -> None:
    import json

    header = Header(
        "\ufefftimestamp, event_type,input_tokens,cost_usd,cache_creation.ephemeral_5m_input_tokens,metadata,"
        "metadata.feature,metadata.a.b,user_id".encode()
    )
    row = b'2026-01-01T00:00:00Z,api_call,12,0.10,7,"{""x"": [1], ""feature"": ""old""}",chat,\xc3\xa9,\r'
    assert json.loads(header.event(row)) == {
        "timestamp": "2026-01-01T00:00:00Z", "event_type": "api_call", "input_tokens": 12, "cost_usd": "0.10",
        "cache_creation": {"ephemeral_5m_input_tokens": 7},
        "metadata": {"x": [1], "feature": "chat", "a.b": "é"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "pointer"),
    [
        (b"a", ""),
        (b"a,b,c,d", ""),
        (b'a,b,"x', ""),
        (b"a,b,[1]", "/metadata"),
        (b"a,b,{", "/metadata"),
        (b"\xff,b,", ""),
    ],
)
def test_a_row_that_cannot_be_says_why(row: bytes, pointer: str) -> None:
    with pytest.raises(RowError) as raised:
        Header(b"timestamp,event_type,metadata").event(row)
    assert raised.value.pointer == pointer
