"""A block of hints in a format that is not known costs time, never an answer; and no format changes unnoticed."""

import hashlib
from random import Random

import numpy as np
import pytest
import zstandard
from django.db import connection

from apps.usage import hinting, hints
from apps.usage.hints import FIRST_FORMAT, FORMAT, FORMATS, BlockMaker
from tests.usage.engine.conftest import make_world, rows, value
from tests.usage.read.test_hints import all_rare, check, chunks_of, count, leave_out_who, told, without

# Of what a block of each format has for the events of :func:`made`. Where this fails, what the bytes of a block mean
# has changed: give FORMAT the next number, add it here, and keep the old one in FORMATS only where it can be read.
MADE = {1: "73e7fcb9", 2: "8ef5d6f4"}


def made() -> str:
    """A digest of what two blocks have of the same three chunks: one with who in its combinations, one without."""
    digest = hashlib.sha256()
    with pytest.MonkeyPatch.context() as patch:
        for most in (hints.MAX_COMBOS, 100):
            patch.setattr(hints, "MAX_COMBOS", most)
            maker = BlockMaker()
            for n in range(3):
                events = np.arange(40 * n, 40 * (n + 1), dtype=np.int64)
                columns = {
                    "who": events % 7, "what": events % 3, "stop": events % 4, "flags": events % 16,
                    "session": events % 11, "request": events * 977,
                    "id": np.frombuffer(np.repeat(events, 2).astype("<u8").tobytes(), dtype="V16"),
                }  # fmt: skip
                errors = (events % 5 // 4 * hints.error_code("overloaded_error")).astype(np.uint16)
                maker.add(columns, [("error_type", "overloaded_error"), ("stop_reason", f"s{n}")], errors, ids=n != 1)
            block = maker.block()
            assert (block.who_fence is not None) == (most == 100)
            for part in (
                zstandard.ZstdDecompressor().decompress(block.combos), bytes([block.bits]), block.fence,
                block.entries, block.who_fence or b"", block.who_entries or b"",
            ):  # fmt: skip
                digest.update(len(part).to_bytes(4, "little") + part)
    return digest.hexdigest()[:8]


def test_what_is_written_is_what_the_format_says() -> None:
    assert FORMAT in FORMATS
    assert made() == MADE[FORMAT]


def test_blocks_of_another_version_are_looked_past(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, world = Random(11), make_world()
    monkeypatch.setattr(hinting, "ENOUGH", 6)
    count(rng, world, 14, days=2)
    hinting.hint_some(every=True)
    assert value("SELECT count(DISTINCT format) FROM usage_hint") == 1
    assert without(world, request_id="req_nowhere") == chunks_of(world)
    # Nothing that the present version could make anything of.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE usage_hint SET format = %s, combos = '\\xff', fence = '', entries = '\\x00', bits = 7,"
            " who_fence = '\\x01', who_entries = '\\x02'",
            [max(FORMATS) + 1],
        )
    assert without(world, request_id="req_nowhere") == set()
    assert without(world, status="error", stop_reason="refusal") == set()
    check(rng, world, 40)
    # Beside them, blocks that are known say what they say.
    count(rng, world, 8, days=1)
    hinting.hint_some(every=True)
    assert without(world, request_id="req_nowhere")
    check(rng, world, 40)


@pytest.mark.parametrize("apart", [False, True], ids=["who in the combinations", "entries of whos"])
def test_blocks_of_the_first_format_are_read(db: None, monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    rng, world = Random(12), make_world()
    monkeypatch.setattr(hinting, "ENOUGH", 6)
    if apart:
        leave_out_who(monkeypatch)
    else:
        all_rare(monkeypatch)
    count(rng, world, 14, days=1)
    hinting.hint_some(every=True)
    asked = {"user": str(world.alice), "model": "claude-opus-5"}
    known = without(world, **asked)
    assert told(world, **asked)
    back_to_the_first_format()
    assert value("SELECT bool_or(who_entries IS NOT NULL) FROM usage_hint") == apart
    # The same is ruled out; which events it is they do not tell.
    assert without(world, **asked) == known
    assert told(world, **asked) == {}
    check(rng, world, 40)
    # Beside them, those that an upgraded worker makes.
    count(rng, world, 14, days=1)
    hinting.hint_some(every=True)
    assert value("SELECT count(DISTINCT format) FROM usage_hint") == 2
    assert told(world, **asked)
    check(rng, world, 40)


def back_to_the_first_format() -> None:
    """Make blocks what they were in the first format: entries of whos without events, none of rare combinations."""
    for number, packed, chunks, fence, entries in rows(
        "SELECT id, combos, cardinality(chunks), who_fence, who_entries FROM usage_hint"
    ):
        data = zstandard.ZstdDecompressor().decompress(bytes(packed))
        combos = int.from_bytes(data[:4], "little") & 0x7FFFFFFF
        combos_end = 4 + combos * (12 + -(-chunks // 8))
        older = None
        if fence is not None:
            whos = np.frombuffer(bytes(fence), dtype=np.dtype([("who", "<i4"), ("start", "<u4")]))
            of_whos = np.frombuffer(bytes(entries), dtype=np.uint8, count=5 * int(whos["start"][-1])).reshape(-1, 5)
            older = of_whos[:, :3].tobytes()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE usage_hint SET format = %s, combos = %s, who_entries = %s WHERE id = %s",
                [FIRST_FORMAT, zstandard.compress(data[:combos_end]), older, number],
            )
