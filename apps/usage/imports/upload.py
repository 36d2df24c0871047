"""From a request's body to a file on the disk, block by block: the body itself, or the file of a form."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import TemporaryUploadedFile
from django.core.files.uploadhandler import StopFutureHandlers, TemporaryFileUploadHandler
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError

from apps.core.errors import BadRequest, UnsupportedMediaType, ValidationFailed
from apps.usage.imports import store

__all__ = ["FormFileHandler", "receive", "refuse_announced"]

_BLOCK = 1 << 20
# A client that is refused before it has sent all of a body sees a broken pipe; so much is read on for its sake.
_SKIPPED = 64 << 20
_ENCODINGS = ("", "identity", "gzip", "x-gzip", "zstd")


class FormFileHandler(TemporaryFileUploadHandler):
    """Writes the file of a form where imports lie, and stops at the bound."""

    chunk_size = _BLOCK

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        # Its parent would make the file in /tmp.
        with contextlib.suppress(StopFutureHandlers):
            super(TemporaryFileUploadHandler, self).new_file(*args, **kwargs)
        self.received = 0
        self.file = _FormFile(self.file_name, self.content_type, 0, self.charset, self.content_type_extra)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.received += len(raw_data)
        store.refuse_too_large(self.received)
        self.file.write(raw_data)


class _FormFile(TemporaryUploadedFile):
    """Lies among the imports; gone when the request ends, unless it was taken by then."""

    def __init__(self, name: Any, content_type: Any, size: int, charset: Any, extra: Any) -> None:
        file = tempfile.NamedTemporaryFile(suffix=".upload", dir=store.directory())  # noqa: SIM115 - closed by Django
        super(TemporaryUploadedFile, self).__init__(file, name, content_type, size, charset, extra)


def refuse_announced(request: HttpRequest, check: Callable[[], None] | None = None) -> None:
    """Refuse a body by what it says of its size, or where ``check`` raises, before any of it is kept."""
    try:
        if check is not None:
            check()
        _refuse(_announced(request))
    except Exception:
        with contextlib.suppress(Exception):
            _skip(request)
        raise


def _announced(request: HttpRequest) -> int | None:
    length = request.META.get("CONTENT_LENGTH") or ""
    return int(length) if length.isdecimal() else None


def _refuse(wanted: int | None) -> None:
    if wanted is not None:
        store.refuse_too_large(wanted)
        store.refuse_without_room(wanted)


def receive(request: HttpRequest) -> tuple[str, int, str]:
    """Store what the request carries: the stored name, its size in bytes, and the name that the file came with."""
    wanted = _announced(request)
    try:
        _refuse(wanted)
        if request.content_type == "multipart/form-data":
            return _receive_form(request)
        encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise UnsupportedMediaType(f"Content-Encoding {encoding!r} is not known here; send gzip, zstd or none")
        name, size = store.store(_body(request, wanted))
        return name, size, ""
    except Exception:
        with contextlib.suppress(Exception):
            _skip(request)
        raise


def _receive_form(request: HttpRequest) -> tuple[str, int, str]:
    try:
        files = request.FILES.getlist("file")
    except (MultiPartParserError, RequestDataTooBig, SuspiciousOperation) as error:
        raise BadRequest(f"The form cannot be read: {error}", code="malformed_body") from error
    if len(files) != 1:
        raise ValidationFailed(
            "The form must hold one file", errors=[{"pointer": "/file", "detail": "exactly one file"}]
        )
    file: Any = files[0]
    name, size = store.take(file.temporary_file_path())
    return name, size, file.name or ""


def _body(request: HttpRequest, wanted: int | None) -> Iterator[bytes]:
    """The body as it comes; :class:`BadRequest` where less comes than was announced."""
    left = wanted
    stream: Any = request if wanted is not None else _chunked(request)
    while stream is not None and (block := stream.read(_BLOCK)):
        if left is not None:
            left -= len(block)
        yield block
    if left:
        raise BadRequest("The body ended too early", code="malformed_body")


def _chunked(request: HttpRequest) -> Any:
    """The server's own stream: Django takes a missing length for an empty body."""
    chunked = "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()
    return request.META.get("wsgi.input") if chunked else None


def _skip(request: HttpRequest) -> None:
    left = _SKIPPED
    stream = _chunked(request) or request
    while left > 0 and (block := stream.read(_BLOCK)):
        left -= len(block)
