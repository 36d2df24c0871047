"""Reading saved views: a person's own, and those that are shared with the organisation."""

from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Lower

from apps.analytics.contracts import ViewInfo
from apps.analytics.models import SavedView, ViewDefault
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope

__all__ = ["default_queries", "view_get", "view_info", "view_list", "view_rows"]


def view_rows(*, org_id: UUID, user_id: UUID | None, page: str = "") -> QuerySet[SavedView]:
    """What a person may see (rows, for this app's own views): own and shared ones; without a person the shared ones."""
    with org_scope(org_id):
        mine = ViewDefault.objects.filter(user_id=user_id, view_id=OuterRef("pk"))
        rows: QuerySet[SavedView] = SavedView.objects.select_related("owner").annotate(is_default=Exists(mine))
    rows = rows.filter(Q(is_shared=True) | Q(owner_id=user_id, owner_id__isnull=False))
    return rows.filter(page=page) if page else rows


def view_list(*, org_id: UUID, user_id: UUID, page: str = "") -> list[ViewInfo]:
    """The views of a page (or of all pages) that a person may see, by name; one query."""
    rows = view_rows(org_id=org_id, user_id=user_id, page=page)
    return [view_info(row) for row in rows.order_by("page", Lower("name"), "id")]


def view_get(*, org_id: UUID, user_id: UUID | None, view_id: UUID) -> ViewInfo:
    """One view; :class:`NotFound` for one that the person may not see."""
    row = view_rows(org_id=org_id, user_id=user_id).filter(pk=view_id).first()
    if row is None:
        raise NotFound("There is no such view")
    return view_info(row)


def view_info(row: Any) -> ViewInfo:
    """The contract of a row of :func:`view_rows`."""
    owner = row.owner
    return ViewInfo(
        id=row.pk, page=row.page, name=row.name, query=row.query, is_shared=row.is_shared,
        is_default=bool(getattr(row, "is_default", False)), owner_id=row.owner_id,
        owner_name=(owner.name or owner.email) if owner else "", created_at=row.created_at, updated_at=row.updated_at,
    )  # fmt: skip


def default_queries(org_id: UUID, user_id: UUID) -> dict[str, str]:
    """Page → the query of the view that it opens with for a person; one query."""
    with org_scope(org_id):
        return dict(ViewDefault.objects.filter(user_id=user_id).values_list("page", "view__query"))
