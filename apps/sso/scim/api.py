"""``/scim/v2/``: users, groups, and what is said of the service itself."""

from collections import defaultdict
from typing import Any
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.core.errors import NotFound
from apps.sso.models import ScimGroup, ScimGroupMember, ScimUser
from apps.sso.scim.base import ScimView, listed, page_of_rows
from apps.sso.scim.errors import ScimError
from apps.sso.scim.filters import group_condition, user_condition
from apps.sso.scim.patch import apply_patch
from apps.sso.scim.resources import group_document, projected, read_group, read_user, user_document
from apps.sso.scim.schemas import resource_types, schemas, service_provider_config
from apps.sso.services import (
    create_scim_group,
    create_scim_user,
    delete_scim_group,
    delete_scim_user,
    update_scim_group,
    update_scim_user,
)

__all__ = [
    "ScimConfig",
    "ScimGroupDetail",
    "ScimGroupList",
    "ScimResourceType",
    "ScimResourceTypeList",
    "ScimSchemaDetail",
    "ScimSchemaList",
    "ScimUnknown",
    "ScimUserDetail",
    "ScimUserList",
]

_OBJECT = OpenApiTypes.OBJECT
_LIST = [
    OpenApiParameter("filter", str, description='RFC 7644, 3.4.2.2, such as `userName eq "ada@example.com"`.'),
    OpenApiParameter("startIndex", int, description="The place of the first, from 1."),
    OpenApiParameter("count", int, description="How many at most, up to 200."),
]
_SHAPE = [
    OpenApiParameter("attributes", str, description="Only these, separated by commas."),
    OpenApiParameter("excludedAttributes", str, description="All but these."),
]


# ---------------------------------------------------------------- users
def _user(scim_user_id: UUID) -> ScimUser:
    row: ScimUser | None = ScimUser.objects.filter(pk=scim_user_id).first()
    if row is None:
        raise NotFound("There is no such user")
    return row


def _user_body(row: ScimUser) -> dict[str, Any]:
    inside = ScimGroup.objects.filter(memberships__member=row).order_by("display_name")
    return user_document(row, inside.values_list("id", "display_name"))


class ScimUserList(ScimView):
    capabilities = {"GET": "", "POST": ""}

    @extend_schema(tags=["SCIM"], parameters=[*_LIST, *_SHAPE], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request) -> Response:
        """The people that were provisioned."""
        query, rows = request.query_params, ScimUser.objects.all()
        if query.get("filter"):
            self.subject = query["filter"]
            rows = rows.filter(user_condition(query["filter"]))
        found, start, total = page_of_rows(rows, query)
        groups: dict[UUID, list[tuple[UUID, str]]] = defaultdict(list)
        inside = ScimGroupMember.objects.filter(member__in=found).order_by("group__display_name")
        for member_id, group_id, name in inside.values_list("member_id", "group_id", "group__display_name"):
            groups[member_id].append((group_id, name))
        documents = [projected(user_document(row, groups[row.pk]), query) for row in found]
        return Response(listed(documents, start=start, total=total))

    @extend_schema(tags=["SCIM"], request=_OBJECT, responses={(201, "application/scim+json"): _OBJECT})
    def post(self, request: Request) -> Response:
        """Provision a person."""
        values = read_user(request.data)
        self.subject = values.user_name
        row = _user(create_scim_user(org_id=self.org, values=values))
        return self.answer(row, projected(_user_body(row), request.query_params), status=201)


class ScimUserDetail(ScimView):
    capabilities = {"GET": "", "PUT": "", "PATCH": "", "DELETE": ""}

    def _found(self, scim_user_id: UUID) -> ScimUser:
        row = _user(scim_user_id)
        self.subject = row.user_name
        return row

    @extend_schema(tags=["SCIM"], parameters=_SHAPE, responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request, scim_user_id: UUID) -> Response:
        """A provisioned person."""
        row = self._found(scim_user_id)
        return self.answer(row, projected(_user_body(row), request.query_params))

    @extend_schema(tags=["SCIM"], request=_OBJECT, responses={(200, "application/scim+json"): _OBJECT})
    def put(self, request: Request, scim_user_id: UUID) -> Response:
        """Replace what is known of a person."""
        return self._change(request, self._found(scim_user_id), request.data)

    @extend_schema(tags=["SCIM"], request=_OBJECT, responses={(200, "application/scim+json"): _OBJECT})
    def patch(self, request: Request, scim_user_id: UUID) -> Response:
        """Change a person: in Okta's form and in Entra's."""
        row = self._found(scim_user_id)
        return self._change(request, row, apply_patch(user_document(row), request.data))

    @extend_schema(tags=["SCIM"], responses={204: OpenApiResponse(description="Deleted")})
    def delete(self, request: Request, scim_user_id: UUID) -> Response:
        """Delete a person: they are no member any more."""
        self.check_version(self._found(scim_user_id))
        delete_scim_user(org_id=self.org, scim_user_id=scim_user_id)
        return Response(status=204)

    def _change(self, request: Request, row: ScimUser, document: Any) -> Response:
        self.check_version(row)
        update_scim_user(org_id=self.org, scim_user_id=row.pk, values=read_user(document))
        changed = _user(row.pk)
        return self.answer(changed, projected(_user_body(changed), request.query_params))


# ---------------------------------------------------------------- groups
def _group(group_id: UUID) -> ScimGroup:
    row: ScimGroup | None = ScimGroup.objects.filter(pk=group_id).first()
    if row is None:
        raise NotFound("There is no such group")
    return row


def _wants_members(query: Any) -> bool:
    wanted = {part.strip().lower().partition(".")[0] for part in query.get("attributes", "").split(",") if part.strip()}
    without = {part.strip().lower() for part in query.get("excludedAttributes", "").split(",")}
    return (not wanted or "members" in wanted) and "members" not in without


def _group_body(row: ScimGroup, query: Any) -> dict[str, Any]:
    if not _wants_members(query):
        return projected(group_document(row, None), query)
    inside = ScimGroupMember.objects.filter(group=row).order_by("member__user_name")
    return projected(group_document(row, inside.values_list("member_id", "member__user_name")), query)


class ScimGroupList(ScimView):
    capabilities = {"GET": "", "POST": ""}

    @extend_schema(tags=["SCIM"], parameters=[*_LIST, *_SHAPE], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request) -> Response:
        """The groups that were pushed."""
        query, rows = request.query_params, ScimGroup.objects.all()
        if query.get("filter"):
            self.subject = query["filter"]
            rows = rows.filter(group_condition(query["filter"]))
        found, start, total = page_of_rows(rows, query)
        members: dict[UUID, list[tuple[UUID, str]]] = defaultdict(list)
        if _wants_members(query):
            inside = ScimGroupMember.objects.filter(group__in=found).order_by("member__user_name")
            for group_id, member_id, name in inside.values_list("group_id", "member_id", "member__user_name"):
                members[group_id].append((member_id, name))
        documents = [
            projected(group_document(row, members[row.pk] if _wants_members(query) else None), query) for row in found
        ]
        return Response(listed(documents, start=start, total=total))

    @extend_schema(tags=["SCIM"], request=_OBJECT, responses={(201, "application/scim+json"): _OBJECT})
    def post(self, request: Request) -> Response:
        """Push a group."""
        name, external_id, member_ids = read_group(request.data)
        self.subject = name
        group_id = create_scim_group(org_id=self.org, name=name, external_id=external_id, member_ids=member_ids)
        row = _group(group_id)
        return self.answer(row, _group_body(row, request.query_params), status=201)


class ScimGroupDetail(ScimView):
    capabilities = {"GET": "", "PUT": "", "PATCH": "", "DELETE": ""}

    def _found(self, group_id: UUID) -> ScimGroup:
        row = _group(group_id)
        self.subject = row.display_name
        return row

    @extend_schema(tags=["SCIM"], parameters=_SHAPE, responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request, group_id: UUID) -> Response:
        """A pushed group."""
        row = self._found(group_id)
        return self.answer(row, _group_body(row, request.query_params))

    @extend_schema(tags=["SCIM"], request=_OBJECT, responses={(200, "application/scim+json"): _OBJECT})
    def put(self, request: Request, group_id: UUID) -> Response:
        """Replace a group; members that are not named are taken out."""
        row = self._found(group_id)
        name, external_id, member_ids = read_group(request.data)
        return self._change(request, row, name, external_id, member_ids or [])

    @extend_schema(tags=["SCIM"], request=_OBJECT, responses={(200, "application/scim+json"): _OBJECT})
    def patch(self, request: Request, group_id: UUID) -> Response:
        """Change a group: its name, or who is in it."""
        row = self._found(group_id)
        ids = ScimGroupMember.objects.filter(group=row).values_list("member_id", flat=True)
        present = {**group_document(row, None), "members": [{"value": str(one)} for one in ids]}
        name, external_id, member_ids = read_group(apply_patch(present, request.data))
        return self._change(request, row, name, external_id, member_ids or [])

    @extend_schema(tags=["SCIM"], responses={204: OpenApiResponse(description="Deleted")})
    def delete(self, request: Request, group_id: UUID) -> Response:
        """Delete a group: what it gave is taken from its members."""
        self.check_version(self._found(group_id))
        delete_scim_group(org_id=self.org, group_id=group_id)
        return Response(status=204)

    def _change(self, request: Request, row: ScimGroup, name: str, external_id: str, member_ids: list[str]) -> Response:
        self.check_version(row)
        update_scim_group(org_id=self.org, group_id=row.pk, name=name, external_id=external_id, member_ids=member_ids)
        changed = _group(row.pk)
        return self.answer(changed, _group_body(changed, request.query_params))


# ---------------------------------------------------------------- the service itself
class ScimConfig(ScimView):
    capabilities = {"GET": ""}

    @extend_schema(tags=["SCIM"], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request) -> Response:
        """What of SCIM is offered."""
        return Response(service_provider_config())


def _described(known: list[dict[str, Any]], name: str) -> Response:
    found = next((one for one in known if one["id"].lower() == name.lower()), None)
    if found is None:
        raise NotFound("There is no such description")
    return Response(found)


class ScimResourceTypeList(ScimView):
    capabilities = {"GET": ""}

    @extend_schema(tags=["SCIM"], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request) -> Response:
        """What kinds of resources there are."""
        return Response(listed(resource_types(), start=1, total=len(resource_types())))


class ScimResourceType(ScimView):
    capabilities = {"GET": ""}

    @extend_schema(tags=["SCIM"], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request, name: str) -> Response:
        """One kind of resource."""
        return _described(resource_types(), name)


class ScimSchemaList(ScimView):
    capabilities = {"GET": ""}

    @extend_schema(tags=["SCIM"], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request) -> Response:
        """The schemas of resources."""
        return Response(listed(schemas(), start=1, total=len(schemas())))


class ScimSchemaDetail(ScimView):
    capabilities = {"GET": ""}

    @extend_schema(tags=["SCIM"], responses={(200, "application/scim+json"): _OBJECT})
    def get(self, request: Request, name: str) -> Response:
        """One schema."""
        return _described(schemas(), name)


class ScimUnknown(ScimView):
    """What SCIM knows and is not offered here (501), and what nobody knows (404)."""

    capabilities = {"GET": "", "POST": "", "PUT": "", "PATCH": "", "DELETE": ""}

    def _refuse(self, request: Request, rest: str) -> Response:
        if rest.partition("/")[0] in {"Me", "Bulk", ".search"}:
            raise ScimError(f"{rest.partition('/')[0]} is not offered here", status=501)
        raise NotFound("There is no such endpoint")

    get = post = put = patch = delete = extend_schema(exclude=True)(_refuse)
