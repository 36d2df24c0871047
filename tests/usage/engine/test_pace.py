"""The drain steps aside while it is in time, and comes forward where something is late."""

from datetime import UTC, datetime

from apps.usage.drain.pace import AGAIN_AFTER, FIRST_AFTER, LATE, TOO_LATE, Pace


class _Place:
    def __init__(self) -> None:
        self.is_aside = self.is_forward = False

    def step_aside(self) -> None:
        self.is_aside, self.is_forward = True, False

    def come_back(self) -> None:
        self.is_aside = False

    def come_forward(self) -> None:
        self.is_aside, self.is_forward = False, True


class _Run:
    def __init__(self) -> None:
        self.now, self.place = 1_000.0, _Place()
        self.pace = Pace(self.place, clock=lambda: self.now)  # type: ignore[arg-type]

    def passes(self, seconds: float, *, in_time: bool = True) -> None:
        for _ in range(round(seconds * 4)):
            self.now += 0.25
            if in_time:
                self.pace.took(None)
            self.pace.look()

    def takes(self, age: float) -> None:
        self.pace.took(datetime.fromtimestamp(self.now - age, UTC))


def test_it_steps_aside_once_it_has_been_in_time_for_a_moment() -> None:
    run = _Run()
    run.passes(FIRST_AFTER - 0.5)
    assert not run.place.is_aside
    run.passes(1)
    assert run.place.is_aside


def test_what_waits_brings_it_forward_and_keeps_it_there_for_a_while() -> None:
    run = _Run()
    run.passes(FIRST_AFTER + 1)
    run.takes(age=0.2)
    run.passes(LATE)
    assert not run.place.is_aside, "what was taken is not counted yet"
    assert not run.place.is_forward
    run.passes(TOO_LATE)
    assert run.place.is_forward
    run.pace.counted()
    run.passes(AGAIN_AFTER - 1)
    assert not run.place.is_aside
    run.passes(2)
    assert run.place.is_aside


def test_an_inbox_that_is_not_looked_at_counts_as_waiting() -> None:
    run = _Run()
    run.passes(FIRST_AFTER + 1)
    run.passes(LATE + 0.5, in_time=False)
    assert not run.place.is_aside


def test_two_flushes_under_way_are_as_old_as_the_older() -> None:
    run = _Run()
    run.takes(age=1.0)
    run.takes(age=0.1)
    assert run.pace.lag() >= 1.0
    run.pace.counted()
    assert run.pace.lag() < 0.2
    run.pace.counted()
    assert run.pace.lag() == 0
