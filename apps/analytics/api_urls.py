from django.urls import path

from apps.analytics import api

urlpatterns = [
    path("analytics/usage", api.Usage.as_view(), name="analytics-usage"),
    path("orgs/<uuid:org_id>/usage", api.OrganizationUsage.as_view(), name="org-usage"),
]
