from django.urls import path

from apps.identity import api

urlpatterns = [
    path("auth/login", api.Login.as_view(), name="auth-login"),
    path("auth/mfa/verify", api.MfaVerify.as_view(), name="auth-mfa-verify"),
    path("auth/refresh", api.Refresh.as_view(), name="auth-refresh"),
    path("auth/register", api.Register.as_view(), name="auth-register"),
    path("auth/logout", api.Logout.as_view(), name="auth-logout"),
    path("auth/me", api.Me.as_view(), name="auth-me"),
    path("users/<uuid:user_id>", api.UserDetail.as_view(), name="user-detail"),
    path(".well-known/jwks.json", api.Jwks.as_view(), name="jwks"),
]
