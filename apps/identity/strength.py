"""How good a password is, asked of nobody outside: NIST SP 800-63B, section 3.1.1.2.

Length and guessability decide; nothing is asked about kinds of characters, and nothing expires.
"""

import re
from typing import Any

from django.core.exceptions import ValidationError
from zxcvbn import zxcvbn

from apps.identity.leaked import is_leaked

__all__ = ["LEAST_SCORE", "LeakedPasswordValidator", "StrengthValidator"]

# zxcvbn: 3 is "safely unguessable", more than 10^8 guesses.
LEAST_SCORE = 3
# Its time grows with the square of the length, and what is longer is not guessed by its beginning's badness.
_LOOKED_AT = 72
_BETTER = "Several words that do not belong together make a good one."
_OURS = ("mindweave", "anthropic", "claude")


class StrengthValidator:
    """Refuses what is guessed easily: words, names, dates, keyboard walks, leaked passwords, the person's own data.

    zxcvbn carries 30,000 leaked passwords and finds them in disguise too; Django's 20,000 and the list of
    :mod:`apps.identity.leaked` are asked beside it.
    """

    def validate(self, password: str, user: Any = None) -> None:
        if not password:
            # zxcvbn fails on nothing; that it is too short is said by its own validator.
            return
        found = zxcvbn(password[:_LOOKED_AT], user_inputs=_own_words(user), max_length=_LOOKED_AT)
        if found["score"] < LEAST_SCORE:
            raise ValidationError(_advice(found["feedback"]), code="password_too_weak")

    def get_help_text(self) -> str:
        return "Your password must be hard to guess: several words that do not belong together are."


class LeakedPasswordValidator:
    """Refuses what is on the list of leaked passwords, however hard it looks to guess."""

    def validate(self, password: str, user: Any = None) -> None:
        if is_leaked(password):
            raise ValidationError(f"This password is known to have leaked. {_BETTER}", code="password_leaked")

    def get_help_text(self) -> str:
        return "Your password must not be one that is known to have leaked."


def _own_words(user: Any) -> list[str]:
    """What somebody who knows the person would try first."""
    email, name = getattr(user, "email", "") or "", getattr(user, "name", "") or ""
    words = [email, name, *re.split(r"[@._+-]", email), *name.split()]
    return [word.lower() for word in words if len(word) > 2] + list(_OURS)


def _advice(feedback: dict[str, Any]) -> str:
    said = feedback.get("warning") or "This password is guessed easily"
    return f"{said.rstrip('.')}. {_BETTER}"
