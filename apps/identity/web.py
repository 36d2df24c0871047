"""What views ask of the person behind a request."""

from uuid import UUID

from django.http import HttpRequest

from apps.core.errors import NotAuthenticated

__all__ = ["user_id_of"]


def user_id_of(request: HttpRequest) -> UUID:
    """The id of the signed-in person; :class:`NotAuthenticated` where nobody is."""
    user_id = request.user.pk
    if user_id is None:
        raise NotAuthenticated()
    return user_id
