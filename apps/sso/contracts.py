"""What an identity provider says of somebody who signs in by it."""

from dataclasses import dataclass

__all__ = ["Arrival"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified answer of a provider: who it is (``subject``, for ever theirs), and what it says of them.

    ``groups`` is None where the provider said nothing of groups, so that they stay as they are.
    """

    subject: str
    email: str
    name: str = ""
    groups: tuple[str, ...] | None = None
