"""What apps add to the web UI: places in the navigation, tabs of the settings, tiles on Home, panels for staff."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

__all__ = [
    "HomeTile",
    "NavItem",
    "PanelContent",
    "Registry",
    "StaffOrgPanel",
    "account_tabs",
    "home_tiles",
    "nav",
    "nav_grants",
    "nav_queries",
    "project_tabs",
    "settings_tabs",
    "staff_org_panels",
]


@dataclass(frozen=True, slots=True)
class NavItem:
    """One place: ``url_name`` takes the organisation's slug; ``capability`` hides it from those who lack it.

    ``shortcut`` is the letter that opens it after ``g``. ``granted``: it opens to those, too, who were given its
    capability for single things alone, and shows them these.
    """

    key: str
    label: str
    url_name: str
    icon: str
    section: str = ""
    order: int = 100
    capability: str | None = None
    shortcut: str = ""
    granted: bool = False


@dataclass(frozen=True, slots=True)
class HomeTile:
    """One tile of Home: ``template`` is rendered with what ``context(org, period)`` returns."""

    key: str
    template: str
    context: Callable[..., dict[str, Any]]
    order: int = 100
    wide: bool = False
    capability: str | None = field(default=None)


@dataclass(frozen=True, slots=True)
class PanelContent:
    """What a panel of the staff admin shows: figures (label, value, note), a table, and links (label, address).

    ``numbers`` are the places of the columns that hold numbers. ``empty`` stands in the table's place where it has no
    rows; ``note`` stands below it.
    """

    figures: Sequence[tuple[str, str, str]] = ()
    headers: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    numbers: Sequence[int] = ()
    empty: str = ""
    note: str = ""
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class StaffOrgPanel:
    """A part of an organisation's page in the staff admin: ``content(org_id)`` reads a bounded number of rows."""

    key: str
    title: str
    content: Callable[[UUID], PanelContent]
    order: int = 100


R = TypeVar("R", NavItem, HomeTile, StaffOrgPanel)


class Registry(Generic[R]):
    """Items by key, in order; registering a key twice is an error."""

    def __init__(self) -> None:
        self._items: dict[str, R] = {}

    def register(self, item: R) -> None:
        if item.key in self._items:
            raise ValueError(f"{item.key!r} is registered already")
        self._items[item.key] = item

    def all(self) -> list[R]:
        return sorted(self._items.values(), key=lambda item: (item.order, item.key))


nav: Registry[NavItem] = Registry()
settings_tabs: Registry[NavItem] = Registry()
# Pages of a person's own account; their ``url_name`` takes nothing.
account_tabs: Registry[NavItem] = Registry()
# Views of one project; their ``url_name`` takes the organisation's slug and the project's.
project_tabs: Registry[NavItem] = Registry()
home_tiles: Registry[HomeTile] = Registry()
# What a person wants the places of the navigation to open with: (organisation, person) → key of the place → query.
nav_queries: list[Callable[[UUID, UUID], dict[str, str]]] = []
# What people were given for single things: (organisation, person) → capabilities, each for one thing or several.
nav_grants: list[Callable[[UUID, UUID], frozenset[str]]] = []
staff_org_panels: Registry[StaffOrgPanel] = Registry()
