"""Writes of analytics: saved views."""

from typing import Any
from uuid import UUID

from django.db import transaction

from apps.accounts import selectors as accounts
from apps.analytics.contracts import ViewInfo
from apps.analytics.models import SavedView, ViewDefault
from apps.analytics.page_state import normal
from apps.analytics.saved import view_get
from apps.audit.services import record
from apps.core.database import lock_org
from apps.core.errors import Conflict, NotFound, PermissionDenied, ValidationFailed
from apps.core.tenancy import org_scope
from apps.usage.selectors import tag_keys

__all__ = ["MOST_OF_ORG", "MOST_OF_PERSON", "create_view", "delete_view", "forget_member_views", "update_view"]

MOST_OF_PERSON, MOST_OF_ORG = 100, 500
_NAME_LENGTH = 80


@transaction.atomic
def create_view(
    *, org_id: UUID, user_id: UUID, page: str, name: str, query: str, is_shared: bool = False, is_default: bool = False
) -> ViewInfo:
    """Keep the state of a page under a name; ``query`` is checked against what the page knows.

    Sharing takes ``view.manage``. :class:`Conflict` for a name that the person has given on this page, and where they
    have 100 views or the organisation 500.
    """
    with org_scope(org_id):
        lock_org("views", org_id)
        if is_shared:
            _require_manager(org_id, user_id)
        kept = _query(org_id, page, query)
        name = _name(name)
        _free_name(user_id, page, name)
        if SavedView.objects.filter(owner_id=user_id).count() >= MOST_OF_PERSON:
            raise Conflict(f"You have {MOST_OF_PERSON} views; delete one first", code="too_many_views")
        if SavedView.objects.count() >= MOST_OF_ORG:
            raise Conflict(f"The organisation has {MOST_OF_ORG} views; delete one first", code="too_many_views")
        view = SavedView.objects.create(
            org_id=org_id, owner_id=user_id, page=page, name=name, query=kept, is_shared=is_shared
        )
        _tell(view, "view.created", after={"page": page, "name": name, "query": kept, "is_shared": is_shared})
        if is_default:
            _set_default(view, user_id)
        return view_get(org_id=org_id, user_id=user_id, view_id=view.pk)


@transaction.atomic
def update_view(*, org_id: UUID, user_id: UUID, view_id: UUID, changes: dict[str, Any]) -> ViewInfo:
    """Change ``name``, ``query``, ``is_shared``, or with ``is_default`` what the page opens with for this person.

    A shared view of somebody else takes ``view.manage`` for all but the last, and so does sharing.
    """
    with org_scope(org_id):
        lock_org("views", org_id)
        view = _visible(user_id, view_id)
        changes = dict(changes)
        default = changes.pop("is_default", None)
        if changes:
            _change(view, user_id, changes)
        if default is True:
            _set_default(view, user_id)
        elif default is False:
            ViewDefault.objects.filter(user_id=user_id, view_id=view_id).delete()
        return view_get(org_id=org_id, user_id=user_id, view_id=view_id)


def _change(view: SavedView, user_id: UUID, changes: dict[str, Any]) -> None:
    if view.owner_id != user_id or changes.get("is_shared", view.is_shared) > view.is_shared:
        _require_manager(view.org_id, user_id)
    if view.owner_id is None and changes.get("is_shared") is False:
        raise Conflict("Its owner has left: it can stay shared, or be deleted", code="view_without_owner")
    if "name" in changes:
        changes["name"] = _name(changes["name"])
    if "query" in changes:
        changes["query"] = _query(view.org_id, view.page, changes["query"])
    changes = {name: value for name, value in changes.items() if getattr(view, name) != value}
    if not changes:
        return
    if "name" in changes:
        _free_name(view.owner_id, view.page, changes["name"])
    before = {name: getattr(view, name) for name in changes}
    for name, value in changes.items():
        setattr(view, name, value)
    view.save()
    if changes.get("is_shared") is False:
        # What others can no longer see is not what their page opens with.
        ViewDefault.objects.filter(view=view).exclude(user_id=view.owner_id).delete()
    _tell(view, "view.updated", before=before, after=changes)


@transaction.atomic
def delete_view(*, org_id: UUID, user_id: UUID, view_id: UUID) -> None:
    """Delete a view; one of somebody else takes ``view.manage``."""
    with org_scope(org_id):
        lock_org("views", org_id)
        view = _visible(user_id, view_id)
        if view.owner_id != user_id:
            _require_manager(org_id, user_id)
        _tell(view, "view.deleted", before={"page": view.page, "name": view.name, "query": view.query})
        view.delete()


@transaction.atomic
def forget_member_views(*, org_id: UUID, user_id: UUID) -> int:
    """Somebody has left: their private views go, shared ones stay without an owner; returns how many went.

    Whoever has come back in the meantime keeps theirs.
    """
    with org_scope(org_id):
        lock_org("views", org_id)
        if accounts.role_of(org_id=org_id, user_id=user_id) is not None:
            return 0
        ViewDefault.objects.filter(user_id=user_id).delete()
        mine = SavedView.objects.filter(owner_id=user_id)
        private = list(mine.filter(is_shared=False))
        for view in private:
            _tell(view, "view.deleted", before={"page": view.page, "name": view.name, "query": view.query})
        mine.filter(is_shared=False).delete()
        mine.update(owner_id=None)
        return len(private)


# ---------------------------------------------------------------- parts
def _visible(user_id: UUID, view_id: UUID) -> SavedView:
    """The row, where the person may see it."""
    view: SavedView | None = SavedView.objects.filter(pk=view_id).first()
    if view is None or not (view.is_shared or view.owner_id == user_id):
        raise NotFound("There is no such view")
    return view


def _require_manager(org_id: UUID, user_id: UUID) -> None:
    if "view.manage" not in accounts.capabilities_for(org_id=org_id, user_id=user_id):
        raise PermissionDenied("Your role lacks 'view.manage' here", extra={"capability": "view.manage"})


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= _NAME_LENGTH:
        raise ValidationFailed(
            "The view is not valid", errors=[{"pointer": "/name", "detail": f"1 to {_NAME_LENGTH} characters"}]
        )
    return name


def _query(org_id: UUID, page: str, query: str) -> str:
    return normal(page, query, tags=tag_keys(org_id) if page == "usage" else None)


def _free_name(owner_id: UUID | None, page: str, name: str) -> None:
    if owner_id is not None and SavedView.objects.filter(owner_id=owner_id, page=page, name=name).exists():
        raise Conflict("You have a view of this name here", code="view_name_taken")


def _set_default(view: SavedView, user_id: UUID) -> None:
    ViewDefault.objects.update_or_create(
        org_id=view.org_id, user_id=user_id, page=view.page, defaults={"view_id": view.pk}
    )


def _tell(view: SavedView, action: str, **details: Any) -> None:
    record(action=action, org_id=view.org_id, target_type="view", target_id=view.pk, target_label=view.name, **details)
