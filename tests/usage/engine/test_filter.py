"""The filter of counted ids: never forgets, suspects few, can be halved; and the room that all filters share."""

import logging

import numpy as np
import pytest

from apps.usage.drain.filter import Filter, Marks
from apps.usage.drain.layers import BITS, FIRST, Layers, filter_bound
from tests.usage.engine.index import keys


def marks(rng: np.random.Generator, count: int, *, ordered: bool = True) -> Marks:
    hi, lo = keys(rng, count)
    return Marks.of(np.sort(hi) if ordered else hi, lo)


@pytest.mark.parametrize("ordered", [True, False])
def test_what_was_added_is_always_suspected_also_in_half_the_room(ordered: bool) -> None:
    rng = np.random.default_rng(5)
    one = Filter(20_000, 16)
    # Four times what it is made for, so that many keys meet in a word.
    added = [marks(rng, 8_000, ordered=ordered) for _ in range(10)]
    for some in added:
        one.add(some)
    while True:
        for some in added:
            assert one.suspects(some).tolist() == list(range(8_000))
        if not one.can_halve:
            break
        one = one.halved()
    assert one.ids == 80_000


@pytest.mark.parametrize(("bits", "one_in"), [(12, 150), (16, 600), (20, 1800)])
def test_few_others_are_suspected(bits: int, one_in: int) -> None:
    rng = np.random.default_rng(bits)
    one = Filter(200_000, bits)
    for _ in range(10):
        one.add(marks(rng, 20_000))
    assert one.bits_a_key == pytest.approx(bits, rel=0.02)
    assert len(one.suspects(marks(rng, 200_000))) < 200_000 / one_in


def test_half_the_room_is_as_good_as_a_filter_made_that_small() -> None:
    rng = np.random.default_rng(3)
    large, small = Filter(131_072, 16), Filter(131_072, 8)
    for _ in range(4):
        some = marks(rng, 32_768)
        large.add(some)
        small.add(some)
    strangers = marks(rng, 50_000)
    assert large.halved().suspects(strangers).tolist() == small.suspects(strangers).tolist()


def test_an_empty_filter_suspects_nobody() -> None:
    assert not len(Filter(1000, 16).suspects(marks(np.random.default_rng(1), 100)))


def fill(layers: Layers, rng: np.random.Generator, stripe: int, ids: int, *, flush: int = 20_000) -> None:
    for _ in range(0, ids, flush):
        layers.for_new(stripe, flush).filter.add(marks(rng, flush))


def test_layers_grow_with_what_their_stripe_has_and_start_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.drain.layers.FIRST", 20_000)
    monkeypatch.setattr("apps.usage.drain.layers.STEEP", 100_000)
    layers = Layers(1 << 30)
    assert layers.bytes == 0
    fill(layers, np.random.default_rng(1), 7, 700_000)
    sizes = [layer.filter.made_for for layer in reversed(layers.of(7))]
    assert sizes == [20_000, 40_000, 120_000, 180_000, 360_000]
    assert [layer.open for layer in layers.of(7)] == [True, False, False, False, False]
    assert not layers.full


def test_where_room_is_short_all_filters_get_fuller_alike_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("apps.usage.drain.layers.FIRST", 20_000)
    monkeypatch.setattr("apps.usage.drain.layers.STEEP", 40_000)
    rng = np.random.default_rng(2)
    layers = Layers(600_000)
    with caplog.at_level(logging.WARNING, "apps.usage.drain.layers"):
        for stripe in range(5):
            fill(layers, rng, stripe, 100_000)
            for layer in layers.of(stripe):
                layer.open = False
    assert layers.bytes <= layers.bound
    assert layers.full
    assert len(caplog.records) == 1
    bits = [layer.filter.bits_a_key for layer in layers.all]
    assert max(bits) < 8 * min(bits)


def test_without_any_room_the_last_layer_takes_everything() -> None:
    rng = np.random.default_rng(2)
    layers = Layers(1 << 12)
    fill(layers, rng, 1, 60_000)
    assert len(layers.all) <= 2
    assert layers.full
    assert layers.ids == 60_000


def test_a_layer_that_is_over_gives_back_what_it_has_too_much() -> None:
    layers = Layers(1 << 30)
    fill(layers, np.random.default_rng(2), 1, 20_000)
    before = layers.bytes
    assert before == pytest.approx(FIRST * BITS / 8, rel=0.01)
    layers.fit(layers.all[0])
    assert layers.bytes <= before // 16


def test_the_room_is_a_part_of_the_memory_for_each_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.drain.layers.machine_bytes", lambda: 64 << 30)
    assert filter_bound(8) == 4 << 30
    assert filter_bound(4) == 2 << 30
    monkeypatch.setattr("apps.usage.drain.layers.machine_bytes", lambda: 1 << 30)
    assert filter_bound(8) == 128 << 20
