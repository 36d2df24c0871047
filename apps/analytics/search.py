"""Finding anything of an organisation by a few letters, or by its id.

Names of people, teams, projects and saved views come in one query; an id is also looked for among sessions and events.
Each is shown only to those who may see the page that it leads to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Case, F, IntegerField, Q, QuerySet, TextField, UUIDField, Value, When
from django.db.models.functions import Cast
from django.urls import NoReverseMatch, reverse

from apps.accounts.selectors import member_names
from apps.analytics.page_state import PAGES
from apps.analytics.saved import view_rows
from apps.core.registry import settings_tabs
from apps.core.web.places import guide_places
from apps.projects.selectors import project_list
from apps.teams.selectors import team_list
from apps.usage.selectors import event_search, session_get
from apps.usage.sessions import idle_limit

__all__ = ["LONGEST", "Found", "Group", "find"]

LONGEST = 256
_EACH = 5
_KINDS = {"view": "Saved views", "person": "People", "team": "Teams", "project": "Projects"}


@dataclass(frozen=True, slots=True)
class Found:
    """One result: ``note`` says what it is beside its name."""

    label: str
    url: str
    icon: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Results of a kind, the best first."""

    title: str
    items: list[Found]


def find(*, org_id: UUID, slug: str, user_id: UUID, capabilities: frozenset[str], text: str) -> list[Group]:
    """What matches ``text``: names that begin with it before those that hold it, whatever their case.

    At most five of each kind; at most four queries, and as many again where the text is an event's id.
    """
    text = " ".join(text.replace("\0", "").split())[:LONGEST]
    if not text:
        return []
    groups = _by_id(org_id, slug, text) if "usage.read" in capabilities else []
    groups += _by_name(org_id, slug, user_id, capabilities, text)
    groups += _places(slug, capabilities, text)
    return groups


# ---------------------------------------------------------------- names
def _by_name(org_id: UUID, slug: str, user_id: UUID, capabilities: frozenset[str], text: str) -> list[Group]:
    asked = _asked(org_id, user_id, capabilities, text)
    if not asked:
        return []
    rows = asked[0].union(*asked[1:], all=True) if len(asked) > 1 else asked[0]
    found: dict[str, list[Found]] = {}
    for kind, found_id, label, note, place, query, _ in rows:
        found.setdefault(kind, []).append(_found(slug, kind, found_id, label, note, place, query))
    return [Group(title, found[kind]) for kind, title in _KINDS.items() if kind in found]


def _asked(org_id: UUID, user_id: UUID, capabilities: frozenset[str], text: str) -> list[QuerySet[Any, Any]]:
    """A query for each kind that the role may see, all of one shape."""
    asked = []
    if "view.save" in capabilities:
        views = view_rows(org_id=org_id, user_id=user_id)
        asked.append(_shaped("view", views, text, label="name", place="page", query="query"))
    if "member.read" in capabilities:
        asked.append(_shaped("person", member_names(org_id), text, label="label", note="note", text_in="text"))
    if "team.read" in capabilities:
        asked.append(_shaped("team", team_list(org_id), text, label="name", place="slug"))
    if "project.read" in capabilities:
        asked.append(_shaped("project", project_list(org_id), text, label="name", place="slug"))
    return asked


def _shaped(
    kind: str, rows: QuerySet[Any], text: str, *, label: str, note: str = "", place: str = "", query: str = "",
    text_in: str = "",
) -> QuerySet[Any, Any]:  # fmt: skip
    """The best five as (kind, id, label, note, place, query, rank)."""
    rank = Case(When(**{f"{label}__istartswith": text}, then=0), default=1, output_field=IntegerField())
    wanted = Q(**{f"{text_in or label}__icontains": text})
    if _as_id(text) is not None:
        wanted |= Q(**{"user_id" if kind == "person" else "pk": text})
    columns = {
        "o_kind": Value(kind, output_field=TextField()),
        "o_id": Cast(F("user_id" if kind == "person" else "pk"), UUIDField()),
        "o_label": Cast(F(label), TextField()),
        "o_note": Cast(F(note), TextField()) if note else Value("", output_field=TextField()),
        "o_place": Cast(F(place), TextField()) if place else Value("", output_field=TextField()),
        "o_query": Cast(F(query), TextField()) if query else Value("", output_field=TextField()),
        "o_rank": rank,
    }
    named = rows.select_related(None).filter(wanted).annotate(**columns)
    best: QuerySet[Any, Any] = named.order_by("o_rank", "o_label").values_list(*columns)[:_EACH]
    return best


def _found(slug: str, kind: str, found_id: UUID, label: str, note: str, place: str, query: str) -> Found:
    match kind:
        case "view":
            return Found(label, f"{reverse(place, args=[slug])}?{query}", "bookmark", PAGES[place].label)
        case "person":
            return Found(label, reverse("member", args=[slug, found_id]), "user", note if note != label else "")
        case "team":
            return Found(label, reverse("team", args=[slug, place]), "users", "team")
        case _:
            return Found(label, reverse("project", args=[slug, place]), "folder", "project")


# ---------------------------------------------------------------- ids
def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _by_id(org_id: UUID, slug: str, text: str) -> list[Group]:
    """A session or an event of exactly this id. Ids have no spaces, and short words are names."""
    if " " in text or len(text) < 4:
        return []
    items = []
    if session := session_get(org_id=org_id, session_id=text, idle=idle_limit()):
        url = f"{reverse('session', args=[slug])}?{urlencode({'id': text})}"
        items.append(Found(text, url, "messages", f"session, {session.body['state']}"))
    event_id = _as_id(text)
    if event_id and (rows := event_search(org_id=org_id, filters={"event_id": [str(event_id)]}, limit=1)):
        what: Mapping[str, Any] = rows[0].body
        url = reverse("event", args=[slug, event_id])
        items.append(Found(str(event_id), url, "list-details", f"event, {what['model'] or what['event_type']}"))
    return [Group("By id", items)] if items else []


# ---------------------------------------------------------------- places
def _places(slug: str, capabilities: frozenset[str], text: str) -> list[Group]:
    """Tabs of the settings and pages of the guide; they cost no query."""
    wanted = text.casefold()
    tabs = []
    for tab in settings_tabs.all():
        if tab.capability and tab.capability not in capabilities:
            continue
        try:
            tabs.append(Found(tab.label, reverse(tab.url_name, args=[slug]), tab.icon, "settings"))
        except NoReverseMatch:
            continue
    guide = [Found(place.label, place.url, "file-text", "guide") for place in guide_places()]
    groups = []
    for title, items in (("Settings", tabs), ("Guide", guide)):
        held = [item for item in items if wanted in item.label.casefold()]
        held.sort(key=lambda item: (not item.label.casefold().startswith(wanted), item.label.casefold()))
        if held:
            groups.append(Group(title, held[:_EACH]))
    return groups
