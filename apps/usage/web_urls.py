"""Pages of tags and prices."""

from django.urls import path

from apps.usage import views

urlpatterns = [
    path("o/<slug:slug>/settings/tags", views.tags_page, name="tags"),
    path("o/<slug:slug>/settings/tags/remove", views.tag_remove, name="tag_remove"),
    path("o/<slug:slug>/settings/prices", views.prices_page, name="prices"),
    path("o/<slug:slug>/settings/prices/<uuid:price_id>/end", views.price_end, name="price_end"),
]
