"""Request bodies of the API: strict JSON."""

from collections.abc import Mapping
from typing import IO, Any

import orjson
from django.http import HttpRequest
from rest_framework.parsers import BaseParser

from apps.core.body import read_body
from apps.core.errors import BadRequest

__all__ = ["StrictJSONParser"]


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
