"""Frames of an inbox row: small ones come back as one, with nothing changed but where their dictionaries are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from apps.usage.ingest.frame import NO_SESSION, RECORD, VERSION, Header, pack, unpack
from apps.usage.texts import joined

Event = tuple[int, str, bytes]
EVENTS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 2**31 - 1), st.sampled_from(["", "s-1", "s-2"]), st.binary(max_size=5)),
        min_size=1, max_size=20,
    ),
    min_size=1, max_size=30,
)  # fmt: skip


def frame(events: list[Event], number: int) -> bytes:
    """A frame whose dictionaries are its own: its number stands in each of its names."""
    records = np.zeros(len(events), dtype=RECORD)
    sessions = sorted({session for _, session, _ in events if session})
    for record, (tokens, session, _) in zip(records, events, strict=True):
        record["input"] = tokens
        record["who"], record["what"] = tokens % 2, tokens % 3
        record["session"] = sessions.index(session) if session else NO_SESSION
    who = [(bytes([number, place]) * 8, None, None, None, None) for place in range(2)]
    what = [("api_call", f"m{number}.{place}", "", False, "", "", "", "", "", "", "ok") for place in range(3)]
    named = [f"{number}:{session}" for session in sessions]
    texts = (None, None, joined([text for _, _, text in events]))
    return pack(Header(len(events), who, what, named, [], VERSION), records, texts)


@given(rows=st.lists(EVENTS, min_size=1, max_size=3))
def test_what_was_packed_comes_back_event_by_event(rows: list[list[list[Event]]]) -> None:
    packed, expected, number = [], [], 0
    for row in rows:
        frames = []
        for events in row:
            frames.append(frame(events, number % 256))
            expected += [(number % 256, event) for event in events]
            number += 1
        packed.append(b"".join(frames))
    found = []
    for back in unpack(*packed):
        texts = back.texts[2].texts() if back.texts[2] else [b""] * len(back.records)
        assert back.header.events == len(back.records)
        for record, text in zip(back.records, texts, strict=True):
            own, who_place, *_ = back.header.whos[record["who"]][0]
            _, model, *_ = back.header.whats[record["what"]]
            session = "" if record["session"] == NO_SESSION else back.header.sessions[record["session"]]
            assert who_place == record["input"] % 2
            assert model == f"m{own}.{record['input'] % 3}"
            assert session in ("", f"{own}:{session.partition(':')[2]}")
            found.append((own, (int(record["input"]), session.partition(":")[2], text)))
    assert found == expected


def test_more_small_frames_than_positions_have_bits_are_several() -> None:
    one = frame([(7, "s-1", b"x")], 1)
    back = list(unpack(one * 45_000))
    assert sum(each.header.events for each in back) == 45_000
    assert len(back) == 3
    assert all(len(each.header.whats) <= 2**16 for each in back)
