"""How long to wait before trying again."""

import random
from datetime import timedelta

__all__ = ["backoff"]


def backoff(attempt: int, *, first: timedelta, longest: timedelta, factor: float = 2.0) -> timedelta:
    """The wait after the ``attempt``-th failure (from 1): ``first``, growing by ``factor``, at most ``longest``.

    Give or take a half, so that what failed together does not come back together.
    """
    seconds = first.total_seconds()
    for _ in range(attempt - 1):
        seconds *= factor
        if seconds >= longest.total_seconds():
            break
    return timedelta(seconds=min(seconds, longest.total_seconds()) * random.uniform(0.5, 1.5))  # noqa: S311
