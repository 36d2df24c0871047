"""Single sign-on over the API, and SCIM."""

from django.urls import path

from apps.sso import api
from apps.sso.scim import api as scim

_SSO = "orgs/<uuid:org_id>/sso"

urlpatterns = [
    path(f"{_SSO}/domains", api.SsoDomainList.as_view(), name="sso-domains"),
    path(f"{_SSO}/domains/<uuid:domain_id>", api.SsoDomainDetail.as_view(), name="sso-domain"),
    path(f"{_SSO}/domains/<uuid:domain_id>/verify", api.SsoDomainVerify.as_view(), name="sso-domain-verify"),
    path(f"{_SSO}/connections", api.SsoConnectionList.as_view(), name="sso-connections"),
    path(f"{_SSO}/connections/<uuid:connection_id>", api.SsoConnectionDetail.as_view(), name="sso-connection"),
    path(
        f"{_SSO}/connections/<uuid:connection_id>/<slug:act>", api.SsoConnectionAct.as_view(), name="sso-connection-act"
    ),
    path(f"{_SSO}/break-glass", api.SsoBreakGlass.as_view(), name="sso-break-glass"),
    path(f"{_SSO}/break-glass/<uuid:user_id>", api.SsoBreakGlassOwner.as_view(), name="sso-break-glass-owner"),
    path(f"{_SSO}/mappings", api.SsoMappingList.as_view(), name="sso-mappings"),
    path(f"{_SSO}/mappings/<uuid:mapping_id>", api.SsoMappingDetail.as_view(), name="sso-mapping"),
    path(f"{_SSO}/scim-tokens", api.SsoScimTokenList.as_view(), name="sso-scim-tokens"),
    path(f"{_SSO}/scim-tokens/<uuid:token_id>", api.SsoScimTokenDetail.as_view(), name="sso-scim-token"),
    path(f"{_SSO}/scim-log", api.SsoScimLog.as_view(), name="sso-scim-log"),
    path("scim/v2/ServiceProviderConfig", scim.ScimConfig.as_view(), name="scim-config"),
    path("scim/v2/ResourceTypes", scim.ScimResourceTypeList.as_view(), name="scim-resource-types"),
    path("scim/v2/ResourceTypes/<str:name>", scim.ScimResourceType.as_view(), name="scim-resource-type"),
    path("scim/v2/Schemas", scim.ScimSchemaList.as_view(), name="scim-schemas"),
    path("scim/v2/Schemas/<str:name>", scim.ScimSchemaDetail.as_view(), name="scim-schema"),
    path("scim/v2/Users", scim.ScimUserList.as_view(), name="scim-users"),
    path("scim/v2/Users/<uuid:scim_user_id>", scim.ScimUserDetail.as_view(), name="scim-user"),
    path("scim/v2/Groups", scim.ScimGroupList.as_view(), name="scim-groups"),
    path("scim/v2/Groups/<uuid:group_id>", scim.ScimGroupDetail.as_view(), name="scim-group"),
    path("scim/v2/<path:rest>", scim.ScimUnknown.as_view(), name="scim-unknown"),
]
