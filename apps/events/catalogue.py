"""The event types of MindWeave by topic, as the documents promise them. ``team.*`` is a whole family.

A type that an app registers stands here, under its topic; the types of apps that are still to come are here already.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["CATALOGUE", "topic_of"]

CATALOGUE: Final[Mapping[str, tuple[str, ...]]] = {
    "usage.events": (
        "usage.batch_ingested",
        "usage.session_started",
        "usage.session_ended",
        "usage.drain_stalled",
        "usage.drain_recovered",
        "usage.batch_set_aside",
        "usage.upkeep_failing",
        "usage.upkeep_recovered",
        "usage.model_unpriced",
        "usage.outside_settings",
        "usage.price_changed",
        "usage.repriced",
        "usage.import_finished",
    ),
    "analytics.results": ("analytics.anomaly_detected", "analytics.forecast_updated", "analytics.report_ready"),
    "notifications": ("alert.opened", "alert.updated", "alert.resolved", "notification.requested"),
    "audit.log": (
        "user.created",
        "user.updated",
        "user.login",
        "user.logout",
        "user.password.reset",
        "user.mfa.enabled",
        "user.mfa.disabled",
        "user.session.invalid",
        "user.erased",
        "org.created",
        "org.updated",
        "org.deleted",
        "org.restored",
        "org.erased",
        "sso.*",
        "scim.*",
        "member.added",
        "member.role_changed",
        "member.removed",
        "access.review_due",
        "access.reviewed",
        "role.created",
        "role.updated",
        "role.deleted",
        "member.invited",
        "team.*",
        "project.*",
        "key.created",
        "key.revoked",
        "key.rotated",
        "key.expiring",
        "key.updated",
        "key.leaked",
        "key.policy_changed",
        "mcp.server_registered",
        "mcp.server_approved",
        "mcp.server_rejected",
        "mcp.server_changed",
        "mcp.scan_finished",
        "policy.created",
        "policy.updated",
        "policy.deleted",
        "policy.denied",
        "audit.chain_broken",
        "audit.stream_dead",
        "audit.export_ready",
        "audit.export_failed",
        "quota.level_reached",
        "quota.exceeded",
    ),
    "billing.events": (
        "subscription.created",
        "subscription.changed",
        "subscription.cancelled",
        "invoice.created",
        "payment.succeeded",
        "payment.failed",
        "billing.usage_reported",
    ),
}


def topic_of(name: str) -> str | None:
    """The topic of a type, or None for one that is not in the catalogue."""
    family = f"{name.rpartition('.')[0]}.*"
    return next((topic for topic, names in CATALOGUE.items() if name in names or family in names), None)
