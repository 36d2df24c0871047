"""Pages of tags, prices and imports."""

from django.urls import path

from apps.usage import import_views, views

urlpatterns = [
    path("o/<slug:slug>/imports", import_views.imports_page, name="imports"),
    path("o/<slug:slug>/imports/upload", import_views.import_upload, name="import_upload"),
    path("o/<slug:slug>/imports/<uuid:import_id>", import_views.import_page, name="import"),
    path("o/<slug:slug>/imports/<uuid:import_id>/cancel", import_views.import_cancel, name="import_cancel"),
    path("o/<slug:slug>/imports/<uuid:import_id>/resume", import_views.import_resume, name="import_resume"),
    path("o/<slug:slug>/settings/tags", views.tags_page, name="tags"),
    path("o/<slug:slug>/settings/tags/remove", views.tag_remove, name="tag_remove"),
    path("o/<slug:slug>/settings/prices", views.prices_page, name="prices"),
    path("o/<slug:slug>/settings/prices/<uuid:price_id>/end", views.price_end, name="price_end"),
]
