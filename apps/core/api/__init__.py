"""What every endpoint of the HTTP API is made of."""

from apps.core.api.parsers import StrictJSONParser
from apps.core.api.serializers import StrictSerializer
from apps.core.api.views import ApiView
from apps.core.authentication import SessionAuthentication, actor_of

__all__ = ["ApiView", "SessionAuthentication", "StrictJSONParser", "StrictSerializer", "actor_of"]
