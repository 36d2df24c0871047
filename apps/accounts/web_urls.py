"""Pages of organisations."""

from django.urls import path

from apps.accounts import (
    access_views,
    account_views,
    audit_export_views,
    audit_stream_views,
    audit_views,
    danger_views,
    roles_views,
    security_views,
    shell_views,
    views,
)

urlpatterns = [
    path("", views.start, name="start"),
    path("impersonation/end", views.impersonation_end, name="impersonation_end"),
    path("welcome", views.welcome, name="welcome"),
    path("o/<slug:slug>/settings", views.settings_page, name="settings"),
    path("o/<slug:slug>/settings/roles", roles_views.roles_page, name="roles"),
    path("o/<slug:slug>/settings/roles/new", roles_views.role_new, name="role_new"),
    path("o/<slug:slug>/settings/roles/<uuid:role_id>", roles_views.role_page, name="role"),
    path("o/<slug:slug>/settings/roles/<uuid:role_id>/delete", roles_views.role_delete, name="role_delete"),
    path("o/<slug:slug>/settings/access", access_views.access_page, name="access_review"),
    path("o/<slug:slug>/settings/access.csv", access_views.access_csv_page, name="access_review_csv"),
    path("o/<slug:slug>/settings/danger", danger_views.danger_page, name="settings_danger"),
    path("o/<slug:slug>/settings/leave", danger_views.settings_leave, name="settings_leave"),
    path("o/<slug:slug>/settings/owner", danger_views.settings_transfer, name="settings_transfer"),
    path("o/<slug:slug>/settings/export", danger_views.settings_export, name="settings_export"),
    path("o/<slug:slug>/settings/delete", danger_views.settings_delete, name="settings_delete"),
    path("account/organisations", account_views.account_organisations, name="account_organisations"),
    path(
        "account/organisations/<uuid:org_id>/default", account_views.organisation_default, name="organisation_default"
    ),
    path(
        "account/organisations/<uuid:org_id>/restore", account_views.organisation_restore, name="organisation_restore"
    ),
    path("o/<slug:slug>/settings/security", security_views.security_page, name="settings_security"),
    path(
        "o/<slug:slug>/settings/security/second-factor", security_views.security_change, name="settings_security_change"
    ),
    path(
        "o/<slug:slug>/settings/security/audit-log",
        security_views.audit_retention_change,
        name="settings_audit_retention",
    ),
    path("o/<slug:slug>/settings/audit", audit_views.audit_page, name="audit"),
    path("o/<slug:slug>/settings/audit/export", audit_views.audit_export, name="audit_export"),
    path("o/<slug:slug>/settings/audit/exports", audit_export_views.audit_exports, name="audit_exports"),
    path(
        "o/<slug:slug>/settings/audit/exports/<uuid:export_id>",
        audit_export_views.audit_export_file,
        name="audit_export_file",
    ),
    path("o/<slug:slug>/settings/audit/verify", audit_views.audit_verify, name="audit_verify"),
    path("o/<slug:slug>/settings/audit/streams", audit_stream_views.audit_streams, name="audit_streams"),
    path(
        "o/<slug:slug>/settings/audit/streams/<uuid:stream_id>/<slug:act>",
        audit_stream_views.audit_stream_act,
        name="audit_stream_act",
    ),
    path("o/<slug:slug>/settings/audit/<uuid:entry_id>", audit_views.audit_entry, name="audit_entry"),
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
