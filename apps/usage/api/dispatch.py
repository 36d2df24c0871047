"""One path, a view for each method: the fast lane takes events in, an API view reads them."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from apps.core.errors import MethodNotAllowed
from apps.core.problems import problem_response

__all__ = ["by_method"]

View = Callable[..., HttpResponseBase]


def by_method(*, read: View, write: View) -> View:
    """``write`` answers POST, ``read`` GET, HEAD and OPTIONS; both look after their callers themselves."""

    @csrf_exempt
    def dispatch(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if request.method == "POST":
            return write(request, *args, **kwargs)
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return read(request, *args, **kwargs)
        error = MethodNotAllowed(headers={"Allow": "GET, HEAD, OPTIONS, POST"})
        return problem_response(error, request)

    # The OpenAPI generator finds an API view by what ``as_view`` leaves on its function.
    dispatch.__dict__.update({name: value for name, value in read.__dict__.items() if name in {"cls", "initkwargs"}})
    return dispatch
