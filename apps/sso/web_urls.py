"""Pages of single sign-on."""

from django.urls import path

from apps.sso import settings_views, views

_SETTINGS = "o/<slug:slug>/settings/sso"
_CONNECTION = f"{_SETTINGS}/connections/<uuid:connection_id>"

urlpatterns = [
    path("login/sso", views.find, name="sso_login"),
    path("sso/confirm", views.confirm, name="sso_confirm"),
    path("sso/callback", views.callback, name="sso_callback"),
    path("sso/<str:name>/start", views.start, name="sso_start"),
    path("sso/<uuid:connection_id>/saml/metadata", views.saml_metadata, name="sso_saml_metadata"),
    path("sso/<uuid:connection_id>/saml/acs", views.saml_acs, name="sso_saml_acs"),
    path("sso/<uuid:connection_id>/saml/finish", views.saml_finish, name="sso_saml_finish"),
    path(_SETTINGS, settings_views.overview, name="sso_settings"),
    path(f"{_SETTINGS}/domains/<uuid:domain_id>/verify", settings_views.domain_verify, name="sso_domain_verify"),
    path(f"{_SETTINGS}/domains/<uuid:domain_id>/remove", settings_views.domain_remove, name="sso_domain_remove"),
    path(f"{_SETTINGS}/break-glass", settings_views.break_glass_add, name="sso_break_glass_add"),
    path(
        f"{_SETTINGS}/break-glass/<uuid:user_id>/remove",
        settings_views.break_glass_remove,
        name="sso_break_glass_remove",
    ),
    path(f"{_SETTINGS}/new/<slug:kind>", settings_views.connection_new, name="sso_connection_new"),
    path(_CONNECTION, settings_views.connection_page, name="sso_connection"),
    path(f"{_CONNECTION}/metadata", settings_views.connection_metadata, name="sso_connection_metadata"),
    path(f"{_CONNECTION}/<slug:act>", settings_views.connection_act, name="sso_connection_act"),
    path(f"{_SETTINGS}/groups", settings_views.groups_page, name="sso_groups"),
    path(f"{_SETTINGS}/groups/<uuid:mapping_id>/remove", settings_views.group_remove, name="sso_group_remove"),
    path(f"{_SETTINGS}/provisioning", settings_views.provisioning_page, name="sso_provisioning"),
    path(
        f"{_SETTINGS}/provisioning/tokens/<uuid:token_id>/revoke",
        settings_views.token_revoke,
        name="sso_token_revoke",
    ),
]
