"""How deep metadata may be nested, and which is deeper.

Each reader and writer of JSON on an event's way has a depth of its own at which it gives up; what is taken in must be
below all of them, or one event would keep a whole page of events from being shown.
"""

import re
from typing import Final

import numpy as np

from apps.usage.texts import TextColumn

__all__ = ["MAX_DEPTH", "is_too_deep", "too_deep"]

MAX_DEPTH: Final = 64
_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*"', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"{}[]"))


def is_too_deep(text: bytes) -> bool:
    """Whether a JSON text has arrays and objects inside each other to more than :data:`MAX_DEPTH` levels."""
    if text.count(b"{") + text.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _STRING.sub(b"", text).translate(None, _NO_BRACKET):
        depth += 1 if bracket in b"{[" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def too_deep(column: TextColumn) -> list[int]:
    """The positions of the JSON texts that are; where few brackets open in all of them, that is a look."""
    data = column.data if isinstance(column.data, bytes) else bytes(column.data)
    # The two brackets are a bit apart: 0x7b and 0x5b.
    opens = (np.frombuffer(data, dtype=np.uint8) | np.uint8(32)) == 123
    opened = np.count_nonzero(opens)
    if opened <= MAX_DEPTH or opened == np.count_nonzero(column.lengths):
        return []
    borders = column.borders()
    owners = np.searchsorted(borders, np.flatnonzero(opens), side="right") - 1
    many = np.flatnonzero(np.bincount(owners, minlength=len(column.lengths)) > MAX_DEPTH).tolist()
    return [place for place in many if is_too_deep(data[borders[place] : borders[place + 1]])]
