"""The WSGI application: the API and the pages."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")

application = get_wsgi_application()
