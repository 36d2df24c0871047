"""One name for each model, however a provider, a date or a context suffix spells it."""

import re
from functools import lru_cache

__all__ = ["canonical_model"]

_SUFFIX = re.compile(r"\[[^\]]*\]$")
_ROUTE = re.compile(r"^(?:.*/)?(?:[a-z][a-z0-9-]*\.)?(?:anthropic[./])?(?=claude)")
_BEDROCK_VERSION = re.compile(r"-v\d+(?::\d+)?(?::\d+k)?$")
_DATE = re.compile(r"-20\d{6}$")
_ALIASES = {
    "claude-opus-4-0": "claude-opus-4",
    "claude-sonnet-4-0": "claude-sonnet-4",
    "claude-3-opus-latest": "claude-3-opus",
}


@lru_cache(maxsize=4096)
def canonical_model(name: str) -> str:
    """The name that prices and rollups go by.

    ``claude-opus-4-8[1m]``, ``claude-opus-4-5-20251101``, ``us.anthropic.claude-sonnet-4-5-20250929-v1:0`` (Bedrock),
    ``claude-opus-4-1@20250805`` (Vertex) and ``claude-3-7-sonnet-latest`` lose what does not name the model. A name
    without ``claude`` in it is only trimmed and lower-cased.
    """
    text = name.strip().lower()
    if "claude" not in text:
        return text
    text = _SUFFIX.sub("", text)
    text = _ROUTE.sub("", text).split("@", 1)[0]
    text = _BEDROCK_VERSION.sub("", text)
    text = _DATE.sub("", text).removesuffix("-latest")
    return _ALIASES.get(text, text)
