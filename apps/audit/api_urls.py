from django.urls import path

from apps.audit import api, stream_api

urlpatterns = [
    path("audit", api.AuditList.as_view(), name="audit-list"),
    path("audit/export", api.AuditExport.as_view(), name="audit-export"),
    path("audit/verify", api.AuditVerify.as_view(), name="audit-verify"),
    path("audit/keys", api.AuditKeys.as_view(), name="audit-keys"),
    path("audit/streams", stream_api.StreamList.as_view(), name="audit-streams"),
    path("audit/streams/<uuid:stream_id>", stream_api.StreamDetail.as_view(), name="audit-stream"),
    path("audit/streams/<uuid:stream_id>/test", stream_api.StreamTest.as_view(), name="audit-stream-test"),
    path("audit/streams/<uuid:stream_id>/secret", stream_api.StreamSecret.as_view(), name="audit-stream-secret"),
    path("audit/<uuid:entry_id>", api.AuditDetail.as_view(), name="audit-detail"),
]
