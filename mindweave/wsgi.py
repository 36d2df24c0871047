"""The WSGI application: the API and the pages."""

import os

import django

from apps.core.priority import want_short_turns
from mindweave.process import begin, settle

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
begin()
want_short_turns()

django.setup(set_prefix=False)

# Views import models, so they come after the applications are loaded.
from mindweave.handlers import PageHandler  # noqa: E402
from mindweave.lane import Lane  # noqa: E402

application = Lane(PageHandler())
settle()
