"""Single sign-on over the API, and SCIM."""

from django.urls import path, re_path

from apps.sso.scim import api as scim

urlpatterns = [
    path("scim/v2/ServiceProviderConfig", scim.ScimConfig.as_view(), name="scim-config"),
    re_path(r"^scim/v2/(?P<kind>ResourceTypes|Schemas)$", scim.ScimDescribed.as_view(), name="scim-described-list"),
    re_path(
        r"^scim/v2/(?P<kind>ResourceTypes|Schemas)/(?P<name>[^/]{1,200})$",
        scim.ScimDescribed.as_view(),
        name="scim-described",
    ),
    path("scim/v2/Users", scim.ScimUserList.as_view(), name="scim-users"),
    path("scim/v2/Users/<uuid:scim_user_id>", scim.ScimUserDetail.as_view(), name="scim-user"),
    path("scim/v2/Groups", scim.ScimGroupList.as_view(), name="scim-groups"),
    path("scim/v2/Groups/<uuid:group_id>", scim.ScimGroupDetail.as_view(), name="scim-group"),
    re_path(r"^scim/v2/(?P<rest>.*)$", scim.ScimUnknown.as_view(), name="scim-unknown"),
]
