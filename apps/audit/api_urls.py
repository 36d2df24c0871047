from django.urls import path

from apps.audit import api

urlpatterns = [
    path("audit", api.AuditList.as_view(), name="audit-list"),
    path("audit/export", api.AuditExport.as_view(), name="audit-export"),
    path("audit/verify", api.AuditVerify.as_view(), name="audit-verify"),
    path("audit/keys", api.AuditKeys.as_view(), name="audit-keys"),
    path("audit/<uuid:entry_id>", api.AuditDetail.as_view(), name="audit-detail"),
]
