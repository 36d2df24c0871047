"""Reads of organisations and memberships."""

from collections.abc import Collection
from uuid import UUID

from django.db import connection
from django.db.models import Case, F, Q, QuerySet, TextField, Value, When
from django.db.models.functions import Cast, Concat

from apps.accounts.capabilities import held_of
from apps.accounts.contracts import MemberInfo, MembershipInfo, OrgInfo, OwnOrg
from apps.accounts.models import Membership, Organization, OrgExport, OrgStatus, Role
from apps.accounts.role_selectors import (
    capabilities_for,
    members_with_role,
    membership_get,
    role_find,
    role_get,
    role_holders,
    role_label,
    roles_of_org,
    with_role,
)
from apps.core.asking import Question
from apps.core.clock import now
from apps.core.errors import NotFound
from apps.core.tenancy import org_scope, system_scope
from apps.identity import selectors as identity

__all__ = [
    "OwnOrganizations",
    "capabilities_for",
    "default_org_id",
    "member_addresses_question",
    "member_by_address",
    "member_count",
    "member_info",
    "member_infos",
    "member_list",
    "member_names",
    "member_search",
    "members_who_may",
    "members_with_role",
    "membership_get",
    "org_by_name",
    "org_find",
    "org_for_web",
    "org_gate",
    "org_get",
    "org_info",
    "org_list",
    "org_names",
    "org_zone",
    "orgs_find",
    "orgs_for_user",
    "own_orgs",
    "raw_retentions",
    "role_find",
    "role_get",
    "role_holders",
    "role_label",
    "role_of",
    "roles_of_org",
]

_ADDRESSES = (
    "SELECT m.user_id, CASE WHEN u.email_verified_at IS NOT NULL THEN u.email END"
    " FROM accounts_membership m JOIN identity_user u ON u.id = m.user_id WHERE m.org_id = %s"
)


def org_info(org: Organization) -> OrgInfo:
    """The contract of a row."""
    return OrgInfo(
        id=org.pk,
        name=org.name,
        slug=org.slug,
        timezone=org.timezone,
        status=org.status,
        raw_retention_days=org.raw_retention_days,
        created_at=org.created_at,
        updated_at=org.updated_at,
        plan=org.plan,
        requires_mfa=org.requires_mfa,
        access_review_every=org.access_review_every,
    )


def org_find(org_id: UUID) -> OrgInfo | None:
    """An organisation that is not deleted, or None."""
    org = Organization.objects.filter(pk=org_id).exclude(status=OrgStatus.DELETED).first()
    return org_info(org) if org else None


def raw_retentions() -> set[int]:
    """The days for which organisations keep raw events, each once."""
    return set(Organization.objects.order_by().values_list("raw_retention_days", flat=True).distinct())


def orgs_find(org_ids: Collection[UUID]) -> dict[UUID, OrgInfo]:
    """Those of these organisations that are not deleted, by id."""
    found = Organization.objects.filter(pk__in=org_ids).exclude(status=OrgStatus.DELETED)
    return {org.pk: org_info(org) for org in found}


def org_gate(org_id: UUID) -> tuple[str | None, bool]:
    """What decides on entering an organisation: its status (None where there is none), and whether it requires a second
    factor. Asked with every request."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT status, requires_mfa FROM accounts_organization WHERE id = %s", [org_id])
        row: tuple[str, bool] | None = cursor.fetchone()
    return row or (None, False)


def org_by_name(text: str) -> UUID | None:
    """The organisation of a slug or an id as text; None where there is none."""
    try:
        named = Q(pk=UUID(text))
    except ValueError:
        named = Q(slug=text)
    found: UUID | None = (
        Organization.objects.filter(named).exclude(status=OrgStatus.DELETED).values_list("pk", flat=True).first()
    )
    return found


def org_names(ids: Collection[UUID]) -> dict[UUID, str]:
    """Names of organisations, deleted ones too; for staff."""
    return dict(Organization.objects.filter(pk__in=ids).values_list("id", "name"))


def org_zone(org_id: UUID) -> str:
    """The time zone of an organisation, a deleted one too; for staff. :class:`NotFound` where there never was one."""
    found: str | None = Organization.objects.filter(pk=org_id).values_list("timezone", flat=True).first()
    if found is None:
        raise NotFound()
    return found


def org_get(org_id: UUID) -> OrgInfo:
    """An organisation that is not deleted; :class:`NotFound` otherwise."""
    found = org_find(org_id)
    if found is None:
        raise NotFound()
    return found


def org_list(user_id: UUID) -> QuerySet[Organization]:
    """The organisations of a person, as rows to page through (for this app's own views)."""
    with system_scope("a person's own memberships cross organisations"):
        ids = list(Membership.objects.filter(user_id=user_id).values_list("org_id", flat=True))
    return Organization.objects.filter(pk__in=ids).exclude(status=OrgStatus.DELETED)


def orgs_for_user(user_id: UUID) -> list[OrgInfo]:
    """The organisations of a person, by name."""
    return [org_info(org) for org in org_list(user_id).order_by("name", "id")]


class OwnOrganizations:
    """Fills identity's port."""

    def names(self, user_id: UUID) -> list[tuple[UUID, str]]:
        return [(org.id, org.name) for org in orgs_for_user(user_id)]


def own_orgs(user_id: UUID) -> list[OwnOrg]:
    """Every organisation of a person by name, those that were deleted and not yet erased last; three queries."""
    moment = now()
    with system_scope("a person's own memberships cross organisations"):
        rows = list(
            with_role(Membership.objects.select_related("org").filter(user_id=user_id)).order_by("org__name", "org_id")
        )
        ready = OrgExport.objects.filter(requested_by_id=user_id, state=OrgExport.State.READY, expires_at__gt=moment)
        exports = dict(ready.order_by("created_at").values_list("org_id", "pk"))
    meant = default_org_id(user_id)
    mine = [
        OwnOrg(
            id=row.org.pk,
            name=row.org.name,
            slug=row.org.slug,
            status=row.org.status,
            role=row.role_name or row.role.capitalize(),
            is_default=row.org.pk == meant,
            erase_at=row.org.erase_at,
            can_restore=row.role == Role.OWNER and row.org.can_be_restored(moment),
            export_id=exports.get(row.org.pk) if row.role == Role.OWNER else None,
        )
        for row in rows
    ]
    return sorted(mine, key=lambda one: one.is_deleted)


def default_org_id(user_id: UUID) -> UUID | None:
    """The organisation meant when a person names none: their chosen one while they belong to it, else their oldest."""
    user = identity.user_find(user_id)
    if user is None:
        return None
    with system_scope("a person's own memberships cross organisations"):
        mine = Membership.objects.filter(user_id=user_id).exclude(org__status=OrgStatus.DELETED)
        ids = list(mine.order_by("created_at", "id").values_list("org_id", flat=True))
    if user.default_org_id in ids:
        return user.default_org_id
    return ids[0] if ids else None


def role_of(*, org_id: UUID, user_id: UUID) -> str | None:
    """A person's role in an organisation, or None where they do not belong to it."""
    with org_scope(org_id):
        mine = Membership.objects.filter(user_id=user_id).exclude(org__status=OrgStatus.DELETED)
        role: str | None = mine.values_list("role", flat=True).first()
    return role


def org_for_web(*, slug: str, user_id: UUID) -> tuple[OrgInfo, MembershipInfo] | None:
    """The organisation behind ``/o/<slug>/`` and the person's membership in it; None where it is not theirs."""
    with system_scope("finds the organisation that a page is about"):
        found = (
            with_role(Membership.objects.select_related("org"))
            .filter(org__slug=slug, user_id=user_id)
            .exclude(org__status=OrgStatus.DELETED)
            .first()
        )
    if found is None:
        return None
    held = held_of(found.role, found.held)
    return org_info(found.org), MembershipInfo(found.org_id, user_id, found.role, held, found.role_name or found.role)


def member_list(org_id: UUID) -> QuerySet[Membership]:
    """The memberships of an organisation, as rows to page through (for this app's own views)."""
    with org_scope(org_id):
        rows: QuerySet[Membership] = with_role(Membership.objects.select_related("user"))
    return rows


def member_count(org_id: UUID) -> int:
    """How many people belong to an organisation."""
    return member_list(org_id).count()


def member_infos(org_id: UUID, *, most: int | None = None) -> list[MemberInfo]:
    """All members, by address; the first ``most`` of them, where that is given."""
    return [_member_info(row) for row in member_list(org_id).order_by("user__email")[:most]]


def members_who_may(org_id: UUID, capability: str, *, besides: Collection[UUID | None] = ()) -> list[MemberInfo]:
    """Whom to tell by mail: members whose role holds a capability, and those of ``besides``, with an open account.

    By address; two queries, however many members there are.
    """
    roles = [role.key for role in roles_of_org(org_id) if capability in role.capabilities]
    meant = Q(role__in=roles) | Q(user_id__in=[each for each in besides if each is not None])
    rows = member_list(org_id).filter(meant, user__is_active=True)
    return [_member_info(row) for row in rows.order_by("user__email")]


def member_info(*, org_id: UUID, user_id: UUID) -> MemberInfo:
    """One member; :class:`NotFound` where they are none."""
    row = member_list(org_id).filter(user_id=user_id).first()
    if row is None:
        raise NotFound()
    return _member_info(row)


def member_by_address(*, org_id: UUID, email: str) -> MemberInfo | None:
    """The member with an address, or None."""
    row = member_list(org_id).filter(user__email=identity.normal_email(email)).first()
    return _member_info(row) if row else None


def member_search(*, org_id: UUID, text: str, start: int, limit: int) -> tuple[list[MemberInfo], int]:
    """Members whose name or address holds ``text``, by address: ``limit`` from place ``start`` on; their number."""
    rows = member_list(org_id)
    if text:
        rows = rows.filter(Q(user__email__icontains=text) | Q(user__name__icontains=text))
    return [_member_info(row) for row in rows.order_by("user__email", "id")[start : start + limit]], rows.count()


def member_names(org_id: UUID) -> QuerySet[Membership]:
    """Members to be found by name or address: person's id, label, note; see :mod:`apps.analytics.search`."""
    with org_scope(org_id):
        rows: QuerySet[Membership] = Membership.objects.all()
    label = Case(When(user__name="", then=F("user__email")), default=F("user__name"), output_field=TextField())
    named = rows.annotate(found_id=F("user_id"), label=label, note=Cast("user__email", TextField()))
    return named.annotate(text=Concat("user__name", Value(" "), "user__email", output_field=TextField()))


def _member_info(row: Membership) -> MemberInfo:
    return MemberInfo(
        user_id=row.user_id,
        email=row.user.email,
        name=row.user.name,
        role=row.role,
        joined_at=row.created_at,
        last_login=row.user.last_login,
        custom_role=getattr(row, "role_name", None) or "",
        is_active=row.user.is_active,
    )


def member_addresses_question(org_id: UUID) -> Question:
    """The members' ids, each with their address where it is verified; what attribution of telemetry goes by."""
    return Question(_ADDRESSES, [org_id])
