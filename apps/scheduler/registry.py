"""The jobs of MindWeave: what runs by the clock. Apps declare theirs in ``jobs.py``, which is found by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from celery.schedules import crontab

__all__ = ["Job", "JobFunction", "get_job", "job", "jobs", "unregister"]

JobFunction = Callable[[], Any]
F = TypeVar("F", bound=JobFunction)


@dataclass(frozen=True, slots=True)
class Job:
    """A function that runs by the clock, and how. ``every`` or ``cron`` (five fields, UTC), never both."""

    name: str
    function: JobFunction
    every: timedelta | None
    cron: str | None
    queue: str
    lock: bool
    retries: int
    description: str

    @property
    def schedule(self) -> str:
        """The schedule in words."""
        return f"every {self.every}" if self.every else f"cron {self.cron}"


_jobs: dict[str, Job] = {}


def job(
    *,
    name: str,
    every: timedelta | None = None,
    cron: str | None = None,
    queue: str = "default",
    lock: bool = True,
    retries: int = 3,
) -> Callable[[F], F]:
    """Declare a job. The function takes nothing, is idempotent, and runs in a system scope named after the job.

    What it returns (JSON) is kept with the run. With ``lock``, runs never overlap, on however many workers. A run that
    fails is tried again ``retries`` times, each time later; one whose worker died is found and tried again too.
    """
    if (every is None) == (cron is None):
        raise ValueError(f"the job {name!r} needs either every= or cron=")
    if every is not None and (every < timedelta(seconds=1) or every.microseconds):
        raise ValueError(f"the job {name!r}: every= is in whole seconds, at least one")
    if cron is not None:
        crontab.from_string(cron)  # refuses a malformed one here rather than in the clock

    def declare(function: F) -> F:
        if name in _jobs and _jobs[name].function is not function:
            raise ValueError(f"the job {name!r} is declared already")
        description = (function.__doc__ or "").strip().split("\n")[0]
        _jobs[name] = Job(name, function, every, cron, queue, lock, retries, description)
        return function

    return declare


def get_job(name: str) -> Job:
    """The declared job; KeyError where there is none."""
    return _jobs[name]


def jobs() -> Mapping[str, Job]:
    """All declared jobs by name."""
    return dict(sorted(_jobs.items()))


def unregister(name: str) -> None:
    """Forget a job; for tests."""
    _jobs.pop(name, None)
