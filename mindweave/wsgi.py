"""The WSGI application: the API and the pages."""

import os

from django.core.wsgi import get_wsgi_application

from mindweave.process import begin

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
begin()

_django = get_wsgi_application()

# Views import models, so they come after the applications are loaded.
from mindweave.lane import Lane  # noqa: E402

application = Lane(_django)
