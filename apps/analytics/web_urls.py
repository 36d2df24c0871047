"""Pages of analytics."""

from django.urls import path

from apps.analytics import connect, costs_views, explorer_views, saved_views, search_views, sessions_views, views

urlpatterns = [
    path("o/<slug:slug>/", views.home_page, name="home"),
    path("o/<slug:slug>/home/<slug:panel>.csv", views.home_csv, name="home_csv"),
    path("o/<slug:slug>/usage", explorer_views.usage_page, name="usage"),
    path("o/<slug:slug>/usage.csv", explorer_views.usage_csv, name="usage_csv"),
    path("o/<slug:slug>/costs", costs_views.costs_page, name="costs"),
    path("o/<slug:slug>/costs/<slug:part>.csv", costs_views.costs_csv, name="costs_csv"),
    path("o/<slug:slug>/sessions", sessions_views.sessions_page, name="sessions"),
    path("o/<slug:slug>/sessions.csv", sessions_views.sessions_csv, name="sessions_csv"),
    path("o/<slug:slug>/session", sessions_views.session_page, name="session"),
    path("o/<slug:slug>/events", sessions_views.events_page, name="events"),
    path("o/<slug:slug>/events.csv", sessions_views.events_csv, name="events_csv"),
    path("o/<slug:slug>/events/<uuid:event_id>", sessions_views.event_page, name="event"),
    path("o/<slug:slug>/views", saved_views.views_page, name="views"),
    path("o/<slug:slug>/views/<uuid:view_id>", saved_views.view_change, name="view_change"),
    path("o/<slug:slug>/views/<uuid:view_id>/delete", saved_views.view_delete, name="view_delete"),
    path("o/<slug:slug>/search", search_views.search_page, name="search"),
    path("o/<slug:slug>/search/list", search_views.search_list, name="search_list"),
    path("o/<slug:slug>/live", views.live, name="live"),
    path("o/<slug:slug>/connect", connect.connect, name="connect"),
    path("o/<slug:slug>/connect/<slug:project_slug>/event", connect.connect_event, name="connect_event"),
    path("o/<slug:slug>/welcome", views.first_run, name="first_run"),
    path("o/<slug:slug>/welcome/<slug:project_slug>/first-event", views.first_event_page, name="first_event"),
]
