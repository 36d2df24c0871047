"""The ASGI application: what streams or holds sockets."""

import os

from django.core.asgi import get_asgi_application

from apps.core.priority import want_short_turns
from mindweave.process import begin, settle

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mindweave.settings")
begin()
want_short_turns()
django_application = get_asgi_application()

# Consumers import models, so they come after the applications are loaded.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from apps.analytics import routing as analytics  # noqa: E402
from apps.usage import routing as usage  # noqa: E402

websocket_urlpatterns = [*analytics.websocket_urlpatterns, *usage.websocket_urlpatterns]
application = ProtocolTypeRouter(
    {"http": django_application, "websocket": AuthMiddlewareStack(URLRouter(websocket_urlpatterns))}
)
settle()
