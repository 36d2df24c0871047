"""Request bodies: strict JSON, gzip and zstd, bounded before and after inflating."""

import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

import orjson
import zstandard
from django.conf import settings
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from apps.core.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType

__all__ = ["StrictJSONParser", "inflate", "read_body"]

_CHUNK = 256 * 1024


def read_body(request: HttpRequest) -> bytes:
    """The whole body, inflated by its Content-Encoding; chunked bodies without a length are read too.

    Raises :class:`PayloadTooLarge` over the limits (``MAX_BODY_BYTES`` as sent, ``MAX_INFLATED_BYTES`` inflated),
    :class:`UnsupportedMediaType` for another encoding, :class:`BadRequest` for a broken one.
    """
    return inflate(_raw_body(request), request.headers.get("Content-Encoding", "").strip().lower())


def _raw_body(request: HttpRequest) -> bytes:
    limit: int = settings.MAX_BODY_BYTES
    if hasattr(request, "_body"):
        raw: bytes = request.body
        if len(raw) > limit:
            raise _too_large(limit)
        return raw
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    stream: IO[bytes] | None = request.META.get("wsgi.input") if not length else None
    if stream is None:
        return request.body
    # Django takes a missing length for an empty body; a chunked one ends where its stream ends.
    parts, total = [], 0
    while chunk := stream.read(_CHUNK):
        total += len(chunk)
        if total > limit:
            raise _too_large(limit)
        parts.append(chunk)
    return b"".join(parts)


def inflate(raw: bytes, encoding: str) -> bytes:
    """``raw`` decoded by ``encoding`` (identity, gzip, deflate, zstd), never beyond ``MAX_INFLATED_BYTES``."""
    limit: int = settings.MAX_INFLATED_BYTES
    try:
        match encoding:
            case "" | "identity":
                return raw
            case "gzip" | "x-gzip":
                return _inflate_zlib(raw, 16 + zlib.MAX_WBITS, limit)
            case "deflate":
                return _inflate_zlib(raw, zlib.MAX_WBITS, limit)
            case "zstd":
                return _inflate_zstd(raw, limit)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise BadRequest(f"The {encoding} body is broken: {error}", code="broken_encoding") from error
    raise UnsupportedMediaType(
        f"Content-Encoding {encoding[:40]!r} is not taken; gzip and zstd are", headers={"Accept-Encoding": "gzip, zstd"}
    )


def _inflate_zlib(raw: bytes, wbits: int, limit: int) -> bytes:
    out, rest = bytearray(), raw
    # A gzip body may be several members one after the other (RFC 1952, section 2.2).
    while rest:
        inflater = zlib.decompressobj(wbits)
        out += inflater.decompress(rest, limit + 1 - len(out))
        if len(out) > limit:
            raise _too_large(limit, inflated=True)
        if not inflater.eof:
            raise EOFError("it ends too early")
        rest = inflater.unused_data
    return bytes(out)


def _inflate_zstd(raw: bytes, limit: int) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(BytesIO(raw), read_across_frames=True) as reader:
        out: bytes = reader.read(limit + 1)
    if len(out) > limit:
        raise _too_large(limit, inflated=True)
    if raw and not out and zstandard.get_frame_parameters(raw).content_size != 0:
        raise EOFError("it ends too early")
    return out


def _too_large(limit: int, *, inflated: bool = False) -> PayloadTooLarge:
    what = "inflates to" if inflated else "has"
    return PayloadTooLarge(f"The body {what} more than {limit:,} bytes; send it in smaller parts")


class StrictJSONParser(BaseParser):
    """JSON as RFC 8259 has it: no NaN, no Infinity, UTF-8 only; an empty body is an empty object."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        request: HttpRequest = (parser_context or {})["request"]._request
        body = read_body(request)
        if not body.strip():
            return {}
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadRequest(
                f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}", code="malformed_json"
            ) from error
