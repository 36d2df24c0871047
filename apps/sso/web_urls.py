"""Pages of single sign-on."""

from django.urls import path

from apps.sso import views

urlpatterns = [
    path("login/sso", views.find, name="sso_login"),
    path("sso/callback", views.callback, name="sso_callback"),
    path("sso/<str:name>/start", views.start, name="sso_start"),
    path("sso/<uuid:connection_id>/saml/metadata", views.saml_metadata, name="sso_saml_metadata"),
    path("sso/<uuid:connection_id>/saml/acs", views.saml_acs, name="sso_saml_acs"),
    path("sso/<uuid:connection_id>/saml/finish", views.saml_finish, name="sso_saml_finish"),
]
