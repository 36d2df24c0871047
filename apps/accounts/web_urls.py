"""Pages of organisations."""

from django.urls import path

from apps.accounts import views

urlpatterns = [
    path("", views.start, name="start"),
    path("welcome", views.welcome, name="welcome"),
]
