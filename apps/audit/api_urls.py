from django.urls import path

from apps.audit import api, export_api, retention_api, stream_api

urlpatterns = [
    path("audit", api.AuditList.as_view(), name="audit-list"),
    path("audit/export", api.AuditExport.as_view(), name="audit-export"),
    path("audit/exports", export_api.ExportList.as_view(), name="audit-exports"),
    path("audit/exports/<uuid:export_id>", export_api.ExportDetail.as_view(), name="audit-export-detail"),
    path("audit/exports/<uuid:export_id>/file", export_api.ExportFile.as_view(), name="audit-export-file"),
    path("audit/verify", api.AuditVerify.as_view(), name="audit-verify"),
    path("audit/keys", api.AuditKeys.as_view(), name="audit-keys"),
    path("audit/retention", retention_api.RetentionDetail.as_view(), name="audit-retention"),
    path("audit/streams", stream_api.StreamList.as_view(), name="audit-streams"),
    path("audit/streams/<uuid:stream_id>", stream_api.StreamDetail.as_view(), name="audit-stream"),
    path("audit/streams/<uuid:stream_id>/test", stream_api.StreamTest.as_view(), name="audit-stream-test"),
    path("audit/streams/<uuid:stream_id>/secret", stream_api.StreamSecret.as_view(), name="audit-stream-secret"),
    path("audit/<uuid:entry_id>", api.AuditDetail.as_view(), name="audit-detail"),
]
