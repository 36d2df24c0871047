from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.core.backoff import backoff


@given(
    attempt=st.integers(min_value=1, max_value=10_000),
    first=st.integers(min_value=1, max_value=60),
    factor=st.integers(min_value=2, max_value=5),
)
def test_the_wait_grows_by_its_factor_up_to_the_longest_give_or_take_a_half(attempt, first, factor) -> None:
    longest = timedelta(minutes=10)
    middle = min(first * factor ** min(attempt - 1, 50), longest.total_seconds())
    wait = backoff(attempt, first=timedelta(seconds=first), longest=longest, factor=factor)
    assert 0.49 * middle <= wait.total_seconds() <= 1.51 * middle
