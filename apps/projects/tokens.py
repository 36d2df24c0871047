"""The form of an API key: ``mw_`` + 32 random base62 characters (190 bits) + a 6-character checksum.

The fixed prefix and the checksum (CRC-32 of what stands before it, base62) let scanners recognise a leaked key without
asking us, and let us refuse a mistyped one without asking the database.
"""

import re
import secrets
import string
import zlib

__all__ = ["PATTERN", "PREFIX", "display_prefix", "is_well_formed", "new_key", "recognisable_prefix"]

PREFIX = "mw_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_BODY, _CHECK = 32, 6
_SHOWN = 6
PATTERN = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_BODY + _CHECK}}}")
_RECOGNISABLE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_SHOWN}}}")
_LONGEST = 2 * (_BODY + _CHECK)


def new_key() -> str:
    """A fresh key."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_BODY))
    return body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Whether this can be a key of ours at all."""
    return PATTERN.fullmatch(token) is not None and token[-_CHECK:] == _checksum(token[:-_CHECK])


def display_prefix(token: str) -> str:
    """What of a key may be shown for ever: enough to recognise it."""
    return token[: len(PREFIX) + _SHOWN]


def recognisable_prefix(token: str) -> str | None:
    """The prefix of what may be a key of ours, perhaps with a slip in it (cut short, a character lost); else None."""
    found = _RECOGNISABLE.match(token) if len(token) <= _LONGEST else None
    return found[0] if found else None


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
