"""Pages of organisations."""

from django.urls import path

from apps.accounts import views

urlpatterns = [
    path("", views.start, name="start"),
    path("impersonation/end", views.impersonation_end, name="impersonation_end"),
    path("welcome", views.welcome, name="welcome"),
    path("o/<slug:slug>/settings", views.settings_page, name="settings"),
    path("o/<slug:slug>/settings/leave", views.settings_leave, name="settings_leave"),
    path("o/<slug:slug>/settings/delete", views.settings_delete, name="settings_delete"),
]
