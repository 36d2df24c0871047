"""The product's settings for workers that tests start, with the test's job among the apps."""

from mindweave.settings import *  # noqa: F403
from mindweave.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.scheduler.worker_jobs.WorkerJobsConfig"]
