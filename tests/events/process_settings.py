"""The product's settings for processes that tests start, with the test's listener among the apps."""

from mindweave.settings import *  # noqa: F403
from mindweave.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.events.listener.ListenerConfig"]
