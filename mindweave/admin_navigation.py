"""The staff admin's side bar: where staff look first stands first; everything else is under "All applications"."""

from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

__all__ = ["navigation"]

# Section → (words, route of the admin, Material symbol).
_PLACES: dict[str, list[tuple[str, str, str]]] = {
    "Watch": [
        ("Overview", "index", "monitor_heart"),
        ("Usage engine", "usage_shard_changelist", "speed"),
        ("Dead letters", "events_deadletter_changelist", "mark_email_unread"),
        ("Runs of jobs", "scheduler_jobrun_changelist", "history"),
        ("Audit trail", "audit_auditentry_changelist", "gavel"),
    ],
    "Customers": [
        ("Organisations", "accounts_organization_changelist", "apartment"),
        ("Members", "accounts_membership_changelist", "badge"),
        ("Projects", "projects_project_changelist", "folder"),
        ("API keys", "projects_apikey_changelist", "key"),
        ("Stays", "accounts_impersonation_changelist", "visibility"),
    ],
    "People": [
        ("Users", "identity_user_changelist", "person"),
        ("Sign-ins", "identity_signin_changelist", "login"),
        ("E-mails", "notify_emailmessage_changelist", "mail"),
    ],
    "Usage": [
        ("Prices", "usage_price_changelist", "sell"),
        ("Repricings", "usage_reprice_changelist", "currency_exchange"),
        ("Imports", "usage_import_changelist", "upload_file"),
        ("Sessions", "usage_session_changelist", "timeline"),
    ],
    "Bus and jobs": [
        ("Subscriptions", "events_subscriptionstate_changelist", "rss_feed"),
        ("Deliveries", "events_delivery_changelist", "local_shipping"),
        ("Events", "events_outboxevent_changelist", "bolt"),
        ("Jobs", "scheduler_jobstate_changelist", "schedule"),
    ],
}


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sections with the places that exist."""
    return [
        {"title": title, "items": [place for place in map(_place, places) if place]}
        for title, places in _PLACES.items()
    ]  # fmt: skip


def _place(place: tuple[str, str, str]) -> dict[str, Any] | None:
    words, route, icon = place
    try:
        return {"title": words, "link": reverse(f"admin:{route}"), "icon": icon}
    except NoReverseMatch:
        return None
