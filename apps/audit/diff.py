"""What changed, without what must not be told."""

import re
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["REDACTED", "changes", "clean"]

REDACTED = "[redacted]"

# The words are looked for between word borders of snake_case and camelCase names, so that ``author`` and
# ``tokens_used`` are not taken for secrets, ``refreshToken`` and ``api_key`` are.
_SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|token|digest|pepper|salt|signature|credentials?|authorization"
    r"|cookie|api_?key|private_?key|encryption_?key|recovery_?codes?|totp|otp|pin|dsn)(?:$|_(?!id|name|prefix|count))",
)
_TOKEN_VALUE = re.compile(r"\bmw_[0-9A-Za-z]{38}\b|\bsk-ant-[\w-]{8,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")


def clean(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """``values`` as JSON has them (ids, times and decimals as strings), secrets replaced by :data:`REDACTED`."""
    if not values:
        return {}
    plain: dict[str, Any] = orjson.loads(
        orjson.dumps(dict(values), default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    )
    return {name: _redact(name, value) for name, value in plain.items()}


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> dict[str, list[Any]]:
    """``{field: [before, after]}`` of the fields that differ; a field on one side only has null on the other.

    A secret that changed is named, its values are not.
    """
    old, new = dict(before or {}), dict(after or {})
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    was, is_ = clean({name: old.get(name) for name in differing}), clean({name: new.get(name) for name in differing})
    return {name: [was[name], is_[name]] for name in differing}


def _redact(name: str, value: Any) -> Any:
    if value is not None and _SECRET.search(_snake(name)):
        return REDACTED
    if isinstance(value, dict):
        return {inner: _redact(inner, item) for inner, item in value.items()}
    if isinstance(value, list):
        return [_redact("", item) for item in value]
    if isinstance(value, str):
        # PostgreSQL takes no NUL: an entry must not fail for what somebody typed.
        return _TOKEN_VALUE.sub(REDACTED, value).replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return value


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)
