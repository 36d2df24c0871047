"""The index of counted ids through days: any order of flushes, midnights, merges, crashes, drops and restarts."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from apps.usage.drain.dedupe import DedupeIndex, drop_segments
from apps.usage.drain.filter import STRIPES
from tests.usage.engine.index import index_of, take

KEYS = 40

steps = st.one_of(
    st.tuples(st.just("flush"), st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=12)),
    st.tuples(st.just("turn"), st.integers(1, 5)),
    st.tuples(st.just("merge"), st.integers(1, 6)),
    st.tuples(st.sampled_from(["restart", "drop", "lost"]), st.none()),
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


@pytest.mark.parametrize("cache_ids", [0, 10**6])
def test_each_key_counts_once_for_eight_stripes_whatever_happens(
    db: None, cache_ids: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.drain.choosing.TOGETHER", 2)
    monkeypatch.setattr("apps.usage.drain.dedupe._DOOMED_IDS", 5)
    monkeypatch.setattr("apps.usage.drain.layers.FIRST", 10)
    # Pages and pieces of so few keys that keys with one upper half lie on both sides of their borders.
    for module in ("runs", "compacting", "dedupe", "loading"):
        monkeypatch.setattr(f"apps.usage.drain.{module}.PAGE", 2)
    monkeypatch.setattr("apps.usage.drain.compacting.PIECE", 6)
    monkeypatch.setattr("apps.usage.drain.loading._SLICE", 4)

    @hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(steps, min_size=5, max_size=50))
    def check(history: list[tuple[str, object]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM usage_id_segment")
        model = Model()
        index = index_of(model.stripe, cache_ids=cache_ids)
        for step, value in history:
            if step == "flush":
                _flush(index, model, value)  # type: ignore[arg-type]
            elif step == "lost":
                # The process ends before the commit: what it took for seen must count when it comes again.
                hi, lo = _halves([KEYS + 1])
                index.take(hi, lo, np.zeros(1, dtype=np.uint32), model.stripe)
                index = index_of(model.stripe, cache_ids=cache_ids)
                assert KEYS + 1 not in model.counted
            elif step == "turn":
                model.stripe += value  # type: ignore[operator]
            elif step == "merge":
                for _ in range(value):  # type: ignore[call-overload]
                    index.merge_some()
            elif step == "restart":
                # In the middle of merging as well.
                index = index_of(model.stripe, cache_ids=cache_ids)
            else:
                # The drop comes after a flush of the new stripe or before it; what it takes away is over either way.
                _flush(index, model, [0])
                drop_segments(model.stripe)
        held = sum(stripe > model.stripe - STRIPES for stripe in model.counted.values())
        assert index.stats["ids"] >= held
        _flush(index, model, list(range(KEYS)))

    check()


def _flush(index: DedupeIndex, model: Model, keys: list[int]) -> None:
    hi, lo = _halves(keys)
    assert take(index, hi, lo, model.stripe).tolist() == model.fresh(keys)


def _halves(keys: list[int]) -> tuple[np.ndarray, np.ndarray]:
    # Few distinct upper halves, so that keys also share them.
    numbers = np.array(keys, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return (numbers // np.uint64(3)) * np.uint64(0x9E3779B97F4A7C15), numbers * np.uint64(0xC2B2AE3D27D4EB4F)
