from django.urls import path

from apps.analytics import api, views_api

urlpatterns = [
    path("analytics/usage", api.Usage.as_view(), name="analytics-usage"),
    path("orgs/<uuid:org_id>/usage", api.OrganizationUsage.as_view(), name="org-usage"),
    path("orgs/<uuid:org_id>/views", views_api.ViewList.as_view(), name="view-list"),
    path("orgs/<uuid:org_id>/views/<uuid:view_id>", views_api.ViewDetail.as_view(), name="view-detail"),
]
