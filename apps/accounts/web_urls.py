"""Pages of organisations."""

from django.urls import path

from apps.accounts import security_views, shell_views, views

urlpatterns = [
    path("", views.start, name="start"),
    path("impersonation/end", views.impersonation_end, name="impersonation_end"),
    path("welcome", views.welcome, name="welcome"),
    path("o/<slug:slug>/settings", views.settings_page, name="settings"),
    path("o/<slug:slug>/settings/security", security_views.security_page, name="settings_security"),
    path(
        "o/<slug:slug>/settings/security/second-factor", security_views.security_change, name="settings_security_change"
    ),
    path("o/<slug:slug>/settings/leave", views.settings_leave, name="settings_leave"),
    path("o/<slug:slug>/settings/delete", views.settings_delete, name="settings_delete"),
    path("o/<slug:slug>/keyboard", shell_views.keyboard_page, name="keyboard"),
    path("o/<slug:slug>/notifications", shell_views.notifications_page, name="notifications"),
    path("o/<slug:slug>/notifications/latest", shell_views.notifications_drawer, name="notifications_drawer"),
    path("o/<slug:slug>/notifications/unread", shell_views.notifications_unread, name="notifications_unread"),
    path("o/<slug:slug>/notifications/read", shell_views.notifications_read, name="notifications_read"),
    path(
        "o/<slug:slug>/notifications/<uuid:notification_id>/read",
        shell_views.notification_read,
        name="notification_read",
    ),
]
