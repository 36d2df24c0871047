"""Pages that belong to no organisation and can be jumped to: those of the guide."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from django.conf import settings
from django.urls import NoReverseMatch, reverse

__all__ = ["Place", "guide_places"]

_HEADING = re.compile(r"^# (.+)$", re.M)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one may go."""

    label: str
    url: str


@cache
def _titles() -> tuple[tuple[str, str], ...]:
    """Name of the file and first heading of each page of the guide, by name."""
    found = []
    for path in sorted(Path(settings.BASE_DIR, "docs", "guide").glob("*.md")):
        heading = _HEADING.search(path.read_text())
        if heading and path.stem != "README":
            found.append((path.stem, heading[1].strip()))
    return tuple(found)


def guide_places() -> list[Place]:
    """The pages of the guide, where this MindWeave shows it."""
    try:
        return [Place(title, reverse("guide_page", args=[slug])) for slug, title in _titles()]
    except NoReverseMatch:
        return []
