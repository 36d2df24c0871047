"""What rights on single things are made of, for the apps that have such things (teams, projects).

A grant gives a member some capabilities for one thing; it adds to their role and never takes away. Grants are rows of
django-guardian's direct-key models, scoped like everything else of an organisation; what they mean is asked through
the app's own ``permissions``, never through ``user.has_perm``, for which a superuser may do everything.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models
from guardian.managers import UserObjectPermissionManager

from apps.accounts.models import Organization
from apps.core.clock import now
from apps.core.errors import FieldError, PermissionDenied, ValidationFailed
from apps.core.tenancy import OrgScopedManager

__all__ = [
    "MAX_GRANTS",
    "Grant",
    "GrantInfo",
    "GrantManager",
    "Grantable",
    "collect",
    "hold_roles_still",
    "require_held",
    "set_rights",
    "words_here",
]

# Of one thing, to people and teams together: beyond, a team is the better way.
MAX_GRANTS: Final = 200
# On one thing the words are others than for all.
_HERE: Final = {
    "project.read": "See it",
    "project.manage": "Change and archive it, and manage all its keys",
    "key.read": "See its keys",
    "key.manage": "Make, replace and revoke its keys",
    "usage.read": "See its usage and costs",
    "team.read": "See it and who is in it",
    "team.manage": "Change and delete it, and say who is in it",
}


def words_here(capability: str) -> str:
    """What whoever was given this capability on one thing may do with it, as a label."""
    return _HERE[capability]


class GrantManager(UserObjectPermissionManager, OrgScopedManager):
    """Guardian's manager of rights, which answers only in an organisation's scope."""


class Grant(models.Model):
    """When a right was given; what else a row says, guardian's base and the concrete model do."""

    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        abstract = True


@dataclass(frozen=True, slots=True)
class GrantInfo:
    """What a person or a team was given for one thing; ``capabilities`` in the order in which they are shown.

    ``kind`` is ``user`` or ``team``; ``note`` is a person's address; ``since`` is when the oldest of them was given.
    """

    kind: Literal["user", "team"]
    id: UUID
    name: str
    note: str
    capabilities: tuple[str, ...]
    since: datetime


@dataclass(frozen=True, slots=True)
class Grantable:
    """A kind of thing that rights can be given on: which, in order; the first is reading it, and comes with each."""

    what: str
    capabilities: tuple[str, ...]

    def codename(self, capability: str) -> str:
        """How Django's permissions name it: ``project_manage``."""
        return capability.replace(".", "_")

    def model_permissions(self) -> tuple[tuple[str, str], ...]:
        """What the model declares in its ``Meta``."""
        return tuple((self.codename(each), f"May {each} on this one") for each in self.capabilities)

    def of_codenames(self, codenames: Iterable[str]) -> frozenset[str]:
        """The capabilities that codenames stand for; others mean nothing here."""
        named = set(codenames)
        return frozenset(each for each in self.capabilities if self.codename(each) in named)

    def checked(self, capabilities: Sequence[str]) -> tuple[str, ...]:
        """What is asked for, reading with it, in order; :class:`ValidationFailed` for what cannot be given."""
        for index, name in enumerate(capabilities):
            if name not in self.capabilities:
                detail = f"one of {', '.join(self.capabilities)}"
                errors: list[FieldError] = [{"pointer": f"/capabilities/{index}", "detail": detail}]
                raise ValidationFailed("This cannot be given", errors=errors)
        if not capabilities:
            errors = [{"pointer": "/capabilities", "detail": "Give at least one, or take the access away"}]
            raise ValidationFailed("This cannot be given", errors=errors)
        return tuple(each for each in self.capabilities if each in capabilities or each == self.capabilities[0])

    def permissions(self, model: type[models.Model]) -> dict[str, Permission]:
        """Capability → Django's permission; made where a fresh database has none yet."""
        content_type = ContentType.objects.get_for_model(model)
        found = {row.codename: row for row in Permission.objects.filter(content_type=content_type)}
        for codename, words in self.model_permissions():
            if codename not in found:
                found[codename], _ = Permission.objects.get_or_create(
                    content_type=content_type, codename=codename, defaults={"name": words}
                )
        return {each: found[self.codename(each)] for each in self.capabilities}


def collect(
    kind: Grantable, grantee: Literal["user", "team"], rows: Iterable[tuple[UUID, str, str, str, datetime]]
) -> list[GrantInfo]:
    """Rows of (grantee's id, name, note, codename, when), one a right, as one value a grantee, by name."""
    held: dict[UUID, list[tuple[str, str, str, datetime]]] = {}
    for id_, name, note, codename, when in rows:
        held.setdefault(id_, []).append((name, note, codename, when))
    infos = [
        GrantInfo(
            kind=grantee,
            id=id_,
            name=each[0][0],
            note=each[0][1],
            capabilities=tuple(
                name for name in kind.capabilities if name in kind.of_codenames(codename for _, _, codename, _ in each)
            ),
            since=min(when for *_, when in each),
        )
        for id_, each in held.items()
    ]
    return sorted(infos, key=lambda info: (info.name.lower(), str(info.id)))


def hold_roles_still(org_id: UUID) -> None:
    """Until the transaction ends, nobody's role in the organisation changes, nor what a role holds.

    It takes the organisation's row, as writes of members and roles do. One write of rights at a time, too.
    """
    list(Organization.objects.select_for_update(no_key=True).filter(pk=org_id).values_list("pk", flat=True))


def set_rights(
    kind: Grantable,
    thing: type[models.Model],
    rows: models.QuerySet[Any],
    make: Callable[[Permission], models.Model],
    wanted: Sequence[str],
) -> tuple[str, ...]:
    """Make the rights of one grantee on one thing those ``wanted``; returns what they were.

    ``rows`` are the present ones; ``make`` makes a row, unsaved, of a permission.
    """
    held = kind.of_codenames(rows.values_list("permission__codename", flat=True))
    gone = [kind.codename(each) for each in kind.capabilities if each in held and each not in wanted]
    rows.filter(permission__codename__in=gone).delete()
    if missing := [each for each in wanted if each not in held]:
        known = kind.permissions(thing)
        rows.model._default_manager.bulk_create([make(known[each]) for each in missing])
    return tuple(each for each in kind.capabilities if each in held)


def require_held(needed: Iterable[str], held: frozenset[str]) -> None:
    """Refuse to give or take what whoever does it does not hold there."""
    if missing := sorted(frozenset(needed) - held):
        raise PermissionDenied(
            f"You do not hold {missing[0]!r} here yourself", code="grant_ceiling", extra={"capability": missing[0]}
        )
