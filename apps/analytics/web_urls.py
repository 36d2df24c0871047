"""Pages of analytics."""

from django.urls import path

from apps.analytics import connect, views

urlpatterns = [
    path("o/<slug:slug>/", views.home_page, name="home"),
    path("o/<slug:slug>/home/<slug:panel>.csv", views.home_csv, name="home_csv"),
    path("o/<slug:slug>/live", views.live, name="live"),
    path("o/<slug:slug>/connect", connect.connect, name="connect"),
    path("o/<slug:slug>/connect/<slug:project_slug>/event", connect.connect_event, name="connect_event"),
    path("o/<slug:slug>/welcome", views.first_run, name="first_run"),
    path("o/<slug:slug>/welcome/<slug:project_slug>/first-event", views.first_event_page, name="first_event"),
]
