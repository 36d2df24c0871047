"""The index of counted ids through days: any order of flushes, midnights, merges, growth and restarts."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.usage.drain.dedupe import DedupeIndex, drop_segments, insert_segment
from apps.usage.drain.filter import STRIPES, StripedFilter

KEYS = 40

steps = st.one_of(
    st.tuples(st.just("flush"), st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=12)),
    st.tuples(st.just("turn"), st.integers(1, 5)),
    st.tuples(st.sampled_from(["merge", "grow", "restart", "drop", "lost"]), st.none()),
)


@dataclass
class Model:
    """What the index must do: a key counts again only when its stripe's time is over."""

    stripe: int = 1000
    counted: dict[int, int] = field(default_factory=dict)

    def fresh(self, keys: list[int]) -> list[bool]:
        answers = []
        for key in keys:
            known = self.counted.get(key, -STRIPES)
            new = known <= self.stripe - STRIPES
            if new:
                self.counted[key] = self.stripe
            answers.append(new)
        return answers


def open_index(stripe: int, cache_ids: int) -> DedupeIndex:
    index = DedupeIndex(range(8), filter_bytes=1 << 16, cache_ids=cache_ids)
    index.filter = StripedFilter(min_bytes=1 << 9, max_bytes=1 << 16)
    index.load(stripe)
    return index


@pytest.mark.parametrize("cache_ids", [0, 10**6])
def test_each_key_counts_once_for_eight_stripes_whatever_happens(
    db: None, cache_ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.drain.dedupe.MERGE_SEGMENTS", 1)

    @hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(steps, min_size=5, max_size=40))
    def check(history: list[tuple[str, object]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM usage_id_segment")
        model = Model()
        index = open_index(model.stripe, cache_ids)
        for step, value in history:
            if step == "flush":
                _flush(index, model, value)  # type: ignore[arg-type]
            elif step == "lost":
                # The process ends before the commit: what it took for seen must count when it comes again.
                hi, lo = _halves([KEYS + 1])
                index.take(hi, lo, np.zeros(1, dtype=np.uint32), model.stripe)
                index = open_index(model.stripe, cache_ids)
                assert KEYS + 1 not in model.counted
            elif step == "turn":
                model.stripe += value  # type: ignore[operator]
            elif step == "merge":
                index.merge_some()
            elif step == "grow":
                index.grow_some()
            elif step == "restart":
                index = open_index(model.stripe, cache_ids)
            else:
                # The drop comes after a flush of the new stripe or before it; what it takes away is over either way.
                _flush(index, model, [0])
                drop_segments(model.stripe)
        assert index.stats["ids"] >= sum(s > model.stripe - STRIPES for s in model.counted.values())

    check()


def _flush(index: DedupeIndex, model: Model, keys: list[int]) -> None:
    hi, lo = _halves(keys)
    fresh, new = index.take(hi, lo, np.zeros(len(keys), dtype=np.uint32), model.stripe)
    assert fresh.tolist() == model.fresh(keys)
    if len(new.keys):
        index.committed(new, insert_segment(index.mask, new.stripe, 0, new.keys))


def _halves(keys: list[int]) -> tuple[np.ndarray, np.ndarray]:
    # Few distinct upper halves, so that keys also share them.
    numbers = np.array(keys, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return (numbers // np.uint64(3)) * np.uint64(0x9E3779B97F4A7C15), numbers * np.uint64(0xC2B2AE3D27D4EB4F)
