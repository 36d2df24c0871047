"""The body of a request: read to its end, within limits, and inflated."""

import zlib
from io import BytesIO
from typing import Any

import zstandard
from django.conf import settings
from django.http import HttpRequest

from apps.core.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

__all__ = ["inflate", "read_body", "read_raw"]

_CHUNK = 1 << 20


def read_body(request: HttpRequest) -> bytes:
    """The whole inflated body; :class:`PayloadTooLarge` beyond the limits, :class:`BadRequest` where it is broken.

    Chunked bodies come without a length, so they are read from the server's own stream.
    """
    return inflate(read_raw(request, settings.MAX_BODY_BYTES), request.META.get("HTTP_CONTENT_ENCODING", ""))


def read_raw(request: HttpRequest, limit: int) -> bytes:
    """The body as it was sent.

    It is read past Django, which would keep it with the request: requests are freed by the cyclic collector, in its
    own time, and hundreds of megabytes of bodies would wait for that.
    """
    stream = request.META.get("wsgi.input")
    if stream is None or hasattr(request, "_body"):
        return _bounded(request.body, limit)
    try:
        return _read_stream(request, stream, limit)
    finally:
        request.META["wsgi.input"] = request._stream = BytesIO()


def _read_stream(request: HttpRequest, stream: Any, limit: int) -> bytes:
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length:
        if "chunked" not in request.META.get("HTTP_TRANSFER_ENCODING", "").lower():
            return b""
        return _read_to_end(stream, limit)
    if not length.isdecimal():
        raise BadRequest("Content-Length is not a number")
    wanted = int(length)
    if wanted > limit:
        _skip(stream, min(wanted, 8 * limit))
        raise _too_large(limit)
    body: bytes = stream.read(wanted)
    if len(body) < wanted:
        parts = [body]
        missing = wanted - len(body)
        while missing and (chunk := stream.read(missing)):
            parts.append(chunk)
            missing -= len(chunk)
        if missing:
            raise BadRequest("The body ended too early", code="malformed_body")
        body = b"".join(parts)
    return body


def _read_to_end(stream: Any, limit: int) -> bytes:
    parts, total = [], 0
    while chunk := stream.read(_CHUNK):
        total += len(chunk)
        if total > limit:
            _skip(stream, 8 * limit)
            raise _too_large(limit)
        parts.append(chunk)
    return b"".join(parts)


def _skip(stream: Any, left: int) -> None:
    """Read on without keeping: a server that stops reading breaks the client's pipe before it sees the answer."""
    while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
        left -= len(chunk)


def _bounded(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have at most {limit:,} bytes; send smaller batches")


def inflate(body: bytes, encoding: str) -> bytes:
    """Undo ``Content-Encoding`` (gzip, zstd, deflate, identity), never making more than ``MAX_INFLATED_BYTES``."""
    match encoding.strip().lower():
        case "" | "identity":
            return body
        case "gzip" | "x-gzip":
            return _inflate_zlib(body, 31)
        case "deflate":
            return _inflate_zlib(body, 47)
        case "zstd":
            return _inflate_zstd(body)
    raise UnsupportedMediaType(f"Content-Encoding {encoding!r} is not known here; send gzip, zstd or none")


def _bomb() -> PayloadTooLarge:
    return PayloadTooLarge(f"The body inflates to more than {settings.MAX_INFLATED_BYTES:,} bytes")


def _inflate_zlib(body: bytes, window: int) -> bytes:
    limit = settings.MAX_INFLATED_BYTES
    out: list[bytes] = []
    total = 0
    rest = body
    try:
        while rest:
            inflater = zlib.decompressobj(window)
            out.append(inflater.decompress(rest, limit - total + 1))
            total += len(out[-1])
            if total > limit:
                raise _bomb()
            if not inflater.eof:
                raise BadRequest("The compressed body ends too early", code="malformed_body")
            rest = inflater.unused_data
    except zlib.error as error:
        raise BadRequest(f"The body is not what Content-Encoding says: {error}", code="malformed_body") from error
    return out[0] if len(out) == 1 else b"".join(out)


def _inflate_zstd(body: bytes) -> bytes:
    limit = settings.MAX_INFLATED_BYTES
    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body, read_across_frames=True) as reader:
            inflated = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise BadRequest(f"The body is not what Content-Encoding says: {error}", code="malformed_body") from error
    if len(inflated) > limit:
        raise _bomb()
    return inflated
