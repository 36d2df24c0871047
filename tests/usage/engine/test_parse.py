"""Columns of ids and timestamps are read as one by one they would be."""

import string
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.ingest.parse import parse_time, parse_timestamps, parse_uuids

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.lists(st.uuids(), min_size=1))
def test_uuids_come_out_as_their_bytes(ids: list[UUID]) -> None:
    assert parse_uuids([str(i) for i in ids]) == (b"".join(i.bytes for i in ids), [])


@given(st.lists(st.one_of(st.uuids().map(str), st.text(max_size=40)), min_size=1))
def test_only_what_is_no_uuid_is_marked(values: list[str]) -> None:
    def reference(value: str) -> bytes | None:
        bare = (
            value.replace("-", "")
            if len(value) == 36 and [i for i, c in enumerate(value) if c == "-"] == [8, 13, 18, 23]
            else value
        )
        return bytes.fromhex(bare) if len(bare) == 32 and set(bare) <= set(string.hexdigits) else None

    expected = [reference(value) for value in values]
    packed, bad = parse_uuids(values)
    assert bad == [i for i, e in enumerate(expected) if e is None]
    assert packed == b"".join(e or bytes(16) for e in expected)


def test_a_uuid_with_a_space_in_place_of_a_digit_is_none() -> None:
    good = str(uuid4())
    assert parse_uuids([good, good[:-1] + " "])[1] == [1]


moments = st.datetimes(
    min_value=datetime(1000, 1, 1),
    max_value=datetime(9000, 1, 1),
    timezones=st.just(UTC),
)


@given(
    st.lists(
        st.tuples(moments, st.sampled_from(["Z", "z", "+00:00", "-05:30", "+14:00"]), st.integers(0, 9)), min_size=1
    )
)
def test_timestamps_of_every_spelling_are_read_to_the_microsecond(cases: list[tuple[datetime, str, int]]) -> None:
    texts, expected = [], []
    for at, zone, digits in cases:
        offset = timedelta() if zone in "Zz" else datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").utcoffset()
        assert offset is not None
        local = at.astimezone(timezone(offset))
        fraction = f"{local.microsecond:06d}000"[:digits]
        texts.append(f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + (f".{fraction}" if digits else "") + zone)
        cut = int(fraction[:6].ljust(6, "0")) if digits else 0
        expected.append((at.replace(microsecond=cut) - EPOCH) // timedelta(microseconds=1))
    micros, bad = parse_timestamps(texts)
    assert bad == []
    assert micros.tolist() == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "now", "2026-11-23", "2026-11-23T10:00:00", "2026-02-29T10:00:00Z", "2026-13-01T10:00:00Z",
        "2026-11-23T24:00:00Z", "2026-11-23T10:60:00Z", "2026-11-23T10:00:61Z", "2026-11-23T10:00:00.Z",
        "2026-11-23T10:00:00+25:00", "2026-00-10T10:00:00Z", "2026-04-31T10:00:00.123Z", "20261123T100000Z",
        "٢٠٢٦-11-23T10:00:00Z", "0000-01-01T00:00:00Z", "2026-11-23 10:00:00 Z", "1700000000",
    ],
)  # fmt: skip
def test_what_is_no_timestamp_is_marked_among_good_ones(text: str) -> None:
    good = "2026-11-23T10:00:00Z"
    micros, bad = parse_timestamps([good, text, good])
    assert bad == [1]
    assert micros[0] == micros[2] == 1_795_428_000_000_000


def test_a_leap_second_is_the_second_after() -> None:
    assert parse_timestamps(["2016-12-31T23:59:60Z"])[0][0] == parse_timestamps(["2017-01-01T00:00:00Z"])[0][0]


@given(
    minute=moments,
    digits=st.integers(0, 9),
    seconds=st.lists(st.integers(0, 59_999_999), min_size=30, max_size=30),
    slip=st.none() | st.tuples(st.integers(0, 29), st.integers(0, 28), st.sampled_from("x:-9/6 .TZ;")),
)
def test_a_batch_of_one_minute_is_read_as_its_timestamps_are_one_by_one(
    minute: datetime, digits: int, seconds: list[int], slip: tuple[int, int, str] | None
) -> None:
    texts = []
    for micros in seconds:
        fraction = f"{micros % 1_000_000:06d}000"[:digits]
        second = f"{minute:%Y-%m-%dT%H:%M:}{micros // 1_000_000:02d}"
        texts.append(second.rjust(19, "0") + (f".{fraction}" if digits else "") + "Z")
    if slip is not None:
        which, place, character = slip
        texts[which] = texts[which][:place] + character + texts[which][place + 1 :]
    micros_read, bad = parse_timestamps(texts)
    expected = [parse_time(text) for text in texts]
    assert bad == [place for place, value in enumerate(expected) if value is None]
    assert [value for place, value in enumerate(micros_read.tolist()) if place not in bad] == [
        value for value in expected if value is not None
    ]
