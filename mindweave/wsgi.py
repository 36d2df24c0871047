"""The WSGI application: the API and the pages."""

import os

from django.core.wsgi import get_wsgi_application

from mindweave.process import begin

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
begin()

application = get_wsgi_application()
