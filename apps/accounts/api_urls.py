from django.urls import path

from apps.accounts import access_api, api, org_life_api, roles_api

urlpatterns = [
    path("orgs", api.OrgList.as_view(), name="org-list"),
    path("orgs/<uuid:org_id>", api.OrgDetail.as_view(), name="org-detail"),
    path("orgs/<uuid:org_id>/restore", org_life_api.OrgRestore.as_view(), name="org-restore"),
    path("orgs/<uuid:org_id>/transfer", org_life_api.OrgTransfer.as_view(), name="org-transfer"),
    path("orgs/<uuid:org_id>/export", org_life_api.OrgExports.as_view(), name="org-export"),
    path("orgs/<uuid:org_id>/default", org_life_api.OrgDefault.as_view(), name="org-default"),
    path("org-exports/<uuid:export_id>", org_life_api.OrgExportFile.as_view(), name="org-export-file"),
    path("orgs/<uuid:org_id>/members", api.MemberList.as_view(), name="member-list"),
    path("orgs/<uuid:org_id>/members/<uuid:user_id>", api.MemberDetail.as_view(), name="member-detail"),
    path("orgs/<uuid:org_id>/roles", roles_api.RoleList.as_view(), name="role-list"),
    path("orgs/<uuid:org_id>/roles/<uuid:role_id>", roles_api.RoleDetail.as_view(), name="role-detail"),
    path("orgs/<uuid:org_id>/permissions", roles_api.PermissionList.as_view(), name="permission-list"),
    path("orgs/<uuid:org_id>/access", access_api.AccessList.as_view(), name="access-list"),
    path("orgs/<uuid:org_id>/access/csv", access_api.AccessCsv.as_view(), name="access-csv"),
    path("orgs/<uuid:org_id>/access/reviews", access_api.AccessReviews.as_view(), name="access-reviews"),
]
