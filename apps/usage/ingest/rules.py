"""What a project's settings ask of its events: models and sources that are allowed, metadata that may be kept.

Nothing here runs for a project without settings: its key carries no rules. Costs are by distinct value, not by event.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from apps.projects.contracts import UNNAMED_SOURCE, IngestRules
from apps.usage.ingest.batch import Columns
from apps.usage.ingest.checks import Problems
from apps.usage.pricing.models_names import canonical_model

__all__ = ["Outside", "find_outside", "json_text", "treated_metadata"]

# (``model`` or ``source``, its value) → how many events.
Outside = Counter[tuple[str, str]]
# Bytes of a hash that stand for a value: enough that two values of a project never share one.
_HASH_BYTES = 12
# Values stay as they are spelled: one that no number of ours can hold must not cost the batch.
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def find_outside(columns: Columns, rules: IngestRules, problems: Problems) -> Outside:
    """The events that are outside the rules; where these refuse them, they are added to ``problems``.

    What is refused for another reason anyway is left out.
    """
    found: Outside = Counter()
    if rules.allowed_models:
        bad = {m for m in set(columns["model"]) if m and not _allows(rules.allowed_models, m)}
        if bad:
            _note("model", columns["model"], bad, rules, problems, found)
    if rules.allowed_sources:
        bad = {s for s in set(columns["source"]) if (s or UNNAMED_SOURCE) not in rules.allowed_sources}
        if bad:
            _note("source", columns["source"], bad, rules, problems, found)
    return found


def _note(
    rule: str, values: Iterable[Any], bad: set[Any], rules: IngestRules, problems: Problems, found: Outside
) -> None:
    for position, value in enumerate(values):
        if value in bad and position not in problems:
            name = value or UNNAMED_SOURCE
            found[rule, name] += 1
            if rules.refuses:
                detail = f"the project's settings do not allow the {rule} {name[:100]!r}"
                problems[position] = (f"{rule}_not_allowed", detail, f"/{rule}")


def _allows(patterns: tuple[str, ...], model: str) -> bool:
    """Whether a model fits a pattern, by the name that was sent or by the one that it counts as."""
    matcher = _matcher(patterns)
    return matcher.fullmatch(model) is not None or matcher.fullmatch(canonical_model(model)) is not None


@lru_cache(maxsize=2048)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    parts = (".*".join(re.escape(piece) for piece in pattern.split("*")) for pattern in patterns)
    return re.compile("|".join(parts), re.IGNORECASE | re.DOTALL)


def treated_metadata(texts: list[bytes], rules: IngestRules, tag_keys: tuple[str, ...]) -> list[bytes]:
    """Each event's metadata as it may be kept; the same metadata is read once.

    A dropped or hashed key is so before tags are read, so that a tag never holds what metadata may not.
    """
    seen: dict[bytes, bytes] = {b"": b""}
    for raw in texts:
        if raw not in seen:
            seen[raw] = _treated(raw, rules, tag_keys)
    return [seen[raw] for raw in texts]


def _treated(raw: bytes, rules: IngestRules, tag_keys: tuple[str, ...]) -> bytes:
    if rules.metadata == "drop":
        return b""
    data = _object.decode(raw)
    kept = {
        name: _hashed(value, name, rules) if name in rules.metadata_hash else value
        for name, value in data.items()
        if name not in rules.metadata_drop and (rules.metadata == "keep" or name in tag_keys)
    }
    return msgspec.json.encode(kept) if kept else b""


def json_text(raw: bytes) -> str:
    """A JSON value as text: a string's own, any other in its shortest spelling."""
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError:
        # A number beyond all doubles.
        return raw.decode()
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _hashed(value: msgspec.Raw, name: str, rules: IngestRules) -> Any:
    """A value's keyed hash, the same for the same value of a key in this project; null stays null."""
    if bytes(value) == b"null":
        return None
    text = json_text(bytes(value))
    digest = hmac.digest(rules.hash_salt.encode(), f"{name}\0{text}".encode(), hashlib.sha256)
    return "h:" + digest[:_HASH_BYTES].hex()
