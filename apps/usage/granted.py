"""Usage of single projects, for those who were given no more: whatever they ask for is narrowed to these.

Nothing here is asked of a person whose role holds ``usage.read``, nor of a key.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest

from apps.core.api import ApiView
from apps.core.errors import NotFound, PermissionDenied
from apps.identity.web import user_id_of
from apps.projects.permissions import projects_granted

__all__ = ["OfUsage", "given_to", "given_usage", "narrowed", "only_of", "require_given", "usage_given"]

_CAPABILITY = "usage.read"


def narrowed(filters: Mapping[str, Sequence[str]], given: frozenset[str] | None) -> dict[str, list[str]]:
    """The filters, of the projects that were given alone; ``given`` None: of all.

    :class:`PermissionDenied` where other projects are asked for, or events of none.
    """
    asked = {name: list(values) for name, values in filters.items()}
    if given is None:
        return asked
    projects = asked.get("project")
    if projects is None:
        return {**asked, "project": sorted(given)}
    if not projects or not set(projects) <= given:
        raise PermissionDenied(
            "You were given the usage of single projects, and this asks for others", extra={"capability": _CAPABILITY}
        )
    return asked


def only_of(filters: Mapping[str, Sequence[str]], given: frozenset[str] | None) -> list[str] | None:
    """The projects that sums are to count, of filters that are narrowed; None: all."""
    return None if given is None else list(filters["project"])


def require_given(project_id: str | None, given: frozenset[str] | None, detail: str) -> None:
    """:class:`NotFound` for what belongs to another project than those that were given."""
    if given is not None and project_id not in given:
        raise NotFound(detail)


class OfUsage(ApiView):
    """Base of endpoints that read usage: whoever may not see all sees that of the projects they were given it for.

    ``given`` are the ids of these; None for whoever may see all.
    """

    given: frozenset[str] | None = None

    def is_granted(self, capability: str) -> bool:
        if self.org_id is None or self.actor.id is None or capability != _CAPABILITY:
            return False
        self.given = usage_given(self.org_id, self.actor.id)
        return bool(self.given)


def given_usage(request: HttpRequest, **rest: Any) -> frozenset[str]:
    """For pages of usage: ``usage.read`` where the reader was given it for any project (:func:`given_to`)."""
    if _CAPABILITY in request.membership.capabilities:  # type: ignore[attr-defined]
        return frozenset()
    request.given_usage = usage_given(request.org.id, user_id_of(request))  # type: ignore[attr-defined]
    return frozenset({_CAPABILITY}) if request.given_usage else frozenset()  # type: ignore[attr-defined]


def given_to(request: HttpRequest) -> frozenset[str] | None:
    """The ids of the projects whose usage the reader of a page may see; None for whoever may see all by their role."""
    if _CAPABILITY in request.membership.capabilities:  # type: ignore[attr-defined]
        return None
    found: frozenset[str] = request.given_usage  # type: ignore[attr-defined]
    return found


def usage_given(org_id: Any, user_id: Any) -> frozenset[str]:
    """The ids of the projects whose usage a person was given, beside what their role holds."""
    return frozenset(str(one) for one in projects_granted(org_id=org_id, user_id=user_id, capability=_CAPABILITY))
