"""Who can get in and do what: the list that an access review goes through, to which each app adds what it knows.

A source yields entries of one kind (members, keys, tokens of a provider); facts add to members what only higher apps
know: their teams, and what they were given on single things.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

__all__ = [
    "BATCH",
    "AccessEntry",
    "AccessFacts",
    "AccessSource",
    "Given",
    "access_facts",
    "access_sources",
    "register_source",
]

# How many rows a source reads at once.
BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Given:
    """What is given on one thing: ``may`` by the names that the API knows, ``words`` says each for a person."""

    what: str
    may: tuple[str, ...]
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """Somebody or something that can get in.

    ``may`` are capabilities of a member, scopes of a key, and ``words`` says each for a person; ``on`` is what is given
    on single things.
    ``administers``: it can change who may do what. ``second_factor`` is None for what signs in with none.
    ``link`` leads to its page, below ``/o/<slug>/``.
    """

    id: UUID
    name: str
    note: str = ""
    role: str = ""
    may: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    on: tuple[Given, ...] = ()
    teams: tuple[str, ...] = ()
    administers: bool = False
    second_factor: bool | None = None
    since: datetime | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None
    link: str = ""

    @property
    def permissions(self) -> list[tuple[str, str]]:
        """Each thing that it may do, in words and by name."""
        return list(zip(self.words, self.may, strict=True))

    @property
    def on_lines(self) -> list[str]:
        """A line for each single thing, with what is given by its names."""
        return [f"{each.what}: {', '.join(each.may)}" for each in self.on]

    @property
    def on_words(self) -> list[str]:
        """The same in words."""
        return [f"{each.what}: {'; '.join(each.words)}" for each in self.on]


@dataclass(frozen=True, slots=True)
class AccessFacts:
    """What a higher app knows of a member."""

    teams: tuple[str, ...] = ()
    on: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class AccessSource:
    """One kind of entry: ``entries(org_id, after)`` yields those with a higher id than ``after`` (None: all), by id.

    It reads :data:`BATCH` rows at a time, so that a page costs no more than it shows.
    """

    key: str
    title: str
    entries: Callable[[UUID, UUID | None], Iterator[AccessEntry]]
    order: int = 100
    empty: str = field(default="There are none.")


_sources: dict[str, AccessSource] = {}
# (organisation, people) → what is known of each; those of whom nothing is known may be left out.
access_facts: list[Callable[[UUID, Sequence[UUID]], Mapping[UUID, AccessFacts]]] = []


def register_source(source: AccessSource) -> None:
    """Make a kind of entry known; registering a key twice is an error."""
    if source.key in _sources:
        raise ValueError(f"{source.key!r} is registered already")
    _sources[source.key] = source


def access_sources() -> list[AccessSource]:
    """All kinds, in order."""
    return sorted(_sources.values(), key=lambda source: (source.order, source.key))
