"""Pages of signing in and out."""

from django.urls import path

from apps.identity import account_views, oauth_views, privacy_views, recovery_views, security_views, stepup_views, views

urlpatterns = [
    path("login", views.login, name="login"),
    path("login/code", views.login_code, name="login_code"),
    path("login/passkey", views.login_passkey, name="login_passkey"),
    path("signup", views.signup, name="signup"),
    path("forgot", recovery_views.forgot, name="forgot"),
    path("reset", recovery_views.reset, name="reset"),
    path("reset/<str:token>", recovery_views.reset_link, name="reset_link"),
    path("verify", recovery_views.verify, name="verify"),
    path("verify/<str:token>", recovery_views.verify_link, name="verify_link"),
    path("account", account_views.profile, name="account"),
    path("account/address", account_views.address, name="account_address"),
    path("account/address/resend", account_views.address_resend, name="account_address_resend"),
    path("account/password", account_views.password, name="account_password"),
    path("account/sessions", account_views.sessions, name="account_sessions"),
    path("account/sessions/end", account_views.end_others, name="account_sessions_end"),
    path("account/sessions/<uuid:session_id>/end", account_views.end_session, name="account_session_end"),
    path("account/privacy", privacy_views.privacy, name="account_privacy"),
    path("account/privacy/export", privacy_views.export, name="account_privacy_export"),
    path("account/erased", privacy_views.erased, name="account_erased"),
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
