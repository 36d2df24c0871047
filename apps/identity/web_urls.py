"""Pages of signing in and out."""

from django.urls import path

from apps.identity import stepup_views, views

urlpatterns = [
    path("login", views.login, name="login"),
    path("login/code", views.login_code, name="login_code"),
    path("signup", views.signup, name="signup"),
    path("account/confirm", stepup_views.confirm, name="account_confirm"),
    path("logout", views.logout, name="logout"),
]
