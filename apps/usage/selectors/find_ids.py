"""Where an event lies, by its id: the segments of counted ids know the minute of each.

A segment's keys are sorted and evenly spread (:mod:`apps.usage.drain.keys`), so the place of a key in it is guessed
from its value and only a window around the guess is read: n keys miss it by some sqrt(n) / 2.
"""

import math
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import numpy as np

from apps.usage.chunks import fetch
from apps.usage.drain.filter import STRIPE_SECONDS, STRIPES
from apps.usage.drain.keys import KEY, id_halves, mix, salt_words
from apps.usage.ingest.inbox import slot_of

__all__ = ["COVERED", "minutes_of"]

# Whatever was received within this time is in a segment: all stripes but the present one, which has only begun.
COVERED = timedelta(seconds=(STRIPES - 1) * STRIPE_SECONDS)
# By so much less is a key's upper half in the columns: they have a sign.
_HALF = 1 << 63
_WINDOW = 3.0  # in sqrt(n): six standard deviations in the middle of a segment


def minutes_of(org_id: UUID, salt: bytes, ids: Sequence[UUID]) -> dict[UUID, int]:
    """The minute (since 1970) of each event counted in the last eight days; others are left out."""
    if not ids:
        return {}
    k1, k2 = (np.full(len(ids), word, dtype=np.uint64) for word in salt_words(salt))
    hi, lo = mix(*id_halves(np.frombuffer(b"".join(i.bytes for i in ids), dtype="V16")), k1, k2)
    found: dict[UUID, int] = {}
    segments = fetch(
        "SELECT id, ids, coalesce(first_key, %s), coalesce(last_key, %s) FROM usage_id_segment WHERE slots & %s <> 0"
        " ORDER BY id DESC",
        (-_HALF, _HALF - 1, 1 << slot_of(org_id)),
    )
    lowest, highest = (np.array([row[column] for row in segments], dtype=np.int64) for column in (2, 3))
    for number, key in enumerate(ids):
        place = int(hi[number]) - _HALF
        within = np.flatnonzero((lowest <= place) & (highest >= place)).tolist()
        minute = _look([segments[one] for one in within], int(hi[number]), int(lo[number]))
        if minute is not None:
            found[key] = minute
    return found


def _look(segments: Sequence[tuple[int, int, int, int]], hi: int, lo: int) -> int | None:
    numbers, starts, sizes = [], [], []
    for segment, count, first, last in segments:
        guess = (hi - _HALF - first) * count // (last - first + 1)
        reach = int(_WINDOW * math.sqrt(count)) + 16
        start, end = max(0, guess - reach), min(count, guess + reach)
        numbers.append(segment)
        starts.append(start * KEY.itemsize + 1)
        sizes.append((end - start) * KEY.itemsize)
    rows = fetch(
        "SELECT a.n, substring(s.keys FROM a.start FOR a.size) FROM unnest(%b::bigint[], %b::integer[], %b::integer[])"
        " WITH ORDINALITY AS a (id, start, size, n) JOIN usage_id_segment s ON s.id = a.id",
        (numbers, starts, sizes),
    )
    for place, data in rows:
        keys = np.frombuffer(data, dtype=KEY)
        start, count = (starts[place - 1] - 1) // KEY.itemsize, segments[place - 1][1]
        outside = (start > 0 and keys["hi"][0] > hi) or (start + len(keys) < count and keys["hi"][-1] < hi)
        if outside:
            whole = fetch("SELECT keys FROM usage_id_segment WHERE id = %s", (numbers[place - 1],))
            keys = np.frombuffer(whole[0][0], dtype=KEY) if whole else keys
        hit = np.flatnonzero((keys["hi"] == np.uint64(hi)) & (keys["lo"] == np.uint64(lo)))
        if len(hit):
            return int(keys["minute"][hit[0]])
    return None
