"""Pages of signing in and out."""

from django.urls import path

from apps.identity import oauth_views, security_views, stepup_views, views

urlpatterns = [
    path("login", views.login, name="login"),
    path("login/code", views.login_code, name="login_code"),
    path("login/passkey", views.login_passkey, name="login_passkey"),
    path("signup", views.signup, name="signup"),
    path("account/confirm", stepup_views.confirm, name="account_confirm"),
    path("account/security", security_views.security, name="account_security"),
    path("account/security/app", security_views.add_app, name="account_app"),
    path("account/security/keys/<str:kind>", security_views.add_key, name="account_key"),
    path("account/security/recovery-codes", security_views.recovery_codes, name="account_recovery_codes"),
    path("account/security/factors/<uuid:factor_id>/rename", security_views.rename, name="account_factor_rename"),
    path("account/security/factors/<uuid:factor_id>/remove", security_views.remove, name="account_factor_remove"),
    path("account/security/link", oauth_views.finish_link, name="account_provider_link"),
    path("account/security/providers/<str:provider>/unlink", oauth_views.unlink, name="account_provider_unlink"),
    path("auth/oauth/callback", oauth_views.callback, name="oauth_callback"),
    path("auth/oauth/<str:provider>", oauth_views.start, name="oauth_start"),
    path("logout", views.logout, name="logout"),
]
