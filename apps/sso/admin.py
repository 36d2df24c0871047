from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from apps.core.admin import ReadOnlyAdmin
from apps.sso.models import (
    BreakGlass,
    Connection,
    Domain,
    ExternalIdentity,
    GroupMapping,
    ScimGroup,
    ScimGroupMember,
    ScimRequest,
    ScimToken,
    ScimUser,
    ToldSignIn,
    UsedAssertion,
)


class _OrgAdmin(ReadOnlyAdmin):
    list_filter: ClassVar[tuple[object, ...]] = (("org", AutocompleteSelectFilter),)
    ordering = ("-id",)
    # To show a list is no reason to decrypt a secret.
    deferred: ClassVar[tuple[str, ...]] = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer(*self.deferred) if self.deferred else rows


@admin.register(Domain)
class DomainAdmin(_OrgAdmin):
    list_display = ("name", "org", "verified_at", "created_at")
    list_select_related = ("org",)
    search_fields = ("name", "org__name")


@admin.register(Connection)
class ConnectionAdmin(_OrgAdmin):
    list_display = ("name", "org", "kind", "is_enabled", "is_enforced", "last_used_at")
    list_select_related = ("org",)
    search_fields = ("name", "org__name", "issuer", "idp_entity_id")
    exclude = ("client_secret", "sp_key", "test_answer")
    deferred = ("client_secret", "sp_key", "test_answer")


@admin.register(ToldSignIn)
class ToldSignInAdmin(_OrgAdmin):
    list_display = ("event_id", "org", "at")
    list_select_related = ("org",)
    search_fields = ("org__name",)


@admin.register(GroupMapping)
class GroupMappingAdmin(_OrgAdmin):
    list_display = ("group", "org", "role", "team")
    list_select_related = ("org", "team")
    search_fields = ("group", "org__name")


@admin.register(ExternalIdentity)
class ExternalIdentityAdmin(_OrgAdmin):
    list_display = ("subject", "user", "connection", "org", "last_used_at")
    list_select_related = ("user", "connection", "org")
    search_fields = ("subject", "user__email")
    deferred = ("connection__client_secret", "connection__sp_key", "connection__test_answer")


@admin.register(UsedAssertion)
class UsedAssertionAdmin(_OrgAdmin):
    list_display = ("assertion_id", "connection", "org", "expires_at")
    list_select_related = ("connection", "org")
    search_fields = ("assertion_id",)
    exclude = ("ticket", "answer")
    deferred = ("connection__client_secret", "connection__sp_key", "connection__test_answer", "answer")


@admin.register(ScimToken)
class ScimTokenAdmin(_OrgAdmin):
    list_display = ("name", "prefix", "org", "created_at", "last_used_at", "expires_at", "revoked_at")
    list_select_related = ("org",)
    search_fields = ("name", "prefix", "org__name")
    exclude = ("digest",)


@admin.register(ScimUser)
class ScimUserAdmin(_OrgAdmin):
    list_display = ("user_name", "user", "org", "is_active", "external_id")
    list_select_related = ("user", "org")
    search_fields = ("user_name", "external_id", "user__email")


@admin.register(ScimGroup)
class ScimGroupAdmin(_OrgAdmin):
    list_display = ("display_name", "org", "external_id")
    list_select_related = ("org",)
    search_fields = ("display_name", "org__name")


@admin.register(ScimGroupMember)
class ScimGroupMemberAdmin(_OrgAdmin):
    list_display = ("group", "member", "org")
    list_select_related = ("group", "member", "org")
    search_fields = ("group__display_name", "member__user_name")


@admin.register(BreakGlass)
class BreakGlassAdmin(_OrgAdmin):
    list_display = ("user", "org", "created_at")
    list_select_related = ("user", "org")
    search_fields = ("user__email", "org__name")


@admin.register(ScimRequest)
class ScimRequestAdmin(_OrgAdmin):
    list_display = ("at", "org", "token", "method", "path", "status", "subject")
    list_select_related = ("org", "token")
    search_fields = ("path", "subject")
    ordering = ("-at",)
