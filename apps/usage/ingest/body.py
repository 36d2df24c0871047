"""The body of an ingest request: read to its end, within limits, and inflated."""

import zlib

import zstandard
from django.conf import settings
from django.http import HttpRequest

from apps.core.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

__all__ = ["inflate", "read_body"]

_CHUNK = 1 << 20


def read_body(request: HttpRequest) -> bytes:
    """The whole inflated body; :class:`PayloadTooLarge` beyond the limits, :class:`BadRequest` where it is broken.

    Chunked bodies come without a length, so they are read from the server's own stream.
    """
    return inflate(_read(request, settings.MAX_BODY_BYTES), request.META.get("HTTP_CONTENT_ENCODING", ""))


def _read(request: HttpRequest, limit: int) -> bytes:
    stream = request.META.get("wsgi.input")
    length = request.META.get("CONTENT_LENGTH") or ""
    if stream is None or (not length and "chunked" not in request.META.get("HTTP_TRANSFER_ENCODING", "").lower()):
        body: bytes = request.body
        return _bounded(body, limit)
    if not length:
        parts, total = [], 0
        while chunk := stream.read(_CHUNK):
            total += len(chunk)
            if total <= limit:
                parts.append(chunk)
            # Beyond the limit the rest is read and dropped: a server that stops reading breaks the
            # client's pipe before it sees the answer.
            elif total > 8 * limit:
                break
        if total > limit:
            raise _too_large(limit)
        return b"".join(parts)
    if not length.isdecimal():
        raise BadRequest("Content-Length is not a number")
    if int(length) > limit:
        left = min(int(length), 8 * limit)
        while left > 0 and (chunk := stream.read(min(_CHUNK, left))):
            left -= len(chunk)
        raise _too_large(limit)
    return bytes(request.body)


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
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
            body, read_across_frames=True
        ) as reader:
            inflated = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise BadRequest(f"The body is not what Content-Encoding says: {error}", code="malformed_body") from error
    if len(inflated) > limit:
        raise _bomb()
    return inflated
