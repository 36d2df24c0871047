"""Words of events' details that raw events are searched by: the error type, and stop reasons that have no number.

Each chunk says which of them it has, as a list of hashes (``words``), so that a search for one need not inflate the
texts of chunks that have no hints yet (:mod:`apps.usage.hints`).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import orjson

from apps.usage.hints import word_key
from apps.usage.texts import TextColumn

__all__ = ["FIELDS", "MOST", "listed_words", "word_numbers", "words_of"]

# The fields of a detail that have them.
FIELDS: Final = ("error_type", "stop_reason")
# A chunk of more words than this does not list them: nobody chooses them any more.
MOST: Final = 64
_SIGN: Final = 1 << 31


def words_of(detail: bytes) -> dict[str, str]:
    """The words of one detail (JSON), by field."""
    if not any(b'"%s"' % field.encode() in detail for field in FIELDS):
        return {}
    read = orjson.loads(detail)
    return {field: str(read[field]) for field in FIELDS if read.get(field)}


def word_numbers(field: str, words: Sequence[str]) -> list[int]:
    """What lists have of words of a field: their hashes, as PostgreSQL's integers are."""
    return [(word_key(field, word) ^ _SIGN) - _SIGN for word in words]


def listed_words(details: TextColumn | None) -> list[int] | None:
    """What a chunk with these details lists of their words; None where that is not to be told."""
    if details is None:
        return []
    data, borders = bytes(details.data), details.borders()
    having = np.flatnonzero(details.lengths)
    texts = {data[start:end] for start, end in zip(borders[having].tolist(), borders[having + 1].tolist(), strict=True)}
    if len(texts) > 16 * MOST:
        return None
    try:
        found = {item for text in texts for item in words_of(text).items()}
    except ValueError:
        # Whoever reads the event will say so.
        return None
    return sorted({word_numbers(field, [word])[0] for field, word in found}) if len(found) <= MOST else None
