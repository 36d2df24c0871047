"""The bus in figures: what it did (counted where it happens) and what waits (asked at the scrape)."""

from collections.abc import Iterable
from typing import Any, Final

from django.db import connection
from prometheus_client import Counter
from prometheus_client.metrics_core import GaugeMetricFamily

from apps.core.metrics import register_collector

__all__ = ["DELIVERED", "FAILED", "PUBLISHED", "RELAYED", "register"]

PUBLISHED: Final = Counter("mindweave_bus_published_total", "Events published (counted before the commit)", ["topic"])
RELAYED: Final = Counter("mindweave_bus_relayed_total", "Events taken out of the outbox")
DELIVERED: Final = Counter("mindweave_bus_delivered_total", "Events handled", ["subscription"])
FAILED: Final = Counter("mindweave_bus_failed_total", "Attempts to handle an event that failed", ["subscription"])


def register() -> None:
    """Have the figures of what waits read at each scrape."""
    register_collector("events", _waiting)


def _waiting() -> Iterable[Any]:
    outbox = GaugeMetricFamily("mindweave_bus_outbox_waiting", "Events that no dispatcher has taken yet")
    age = GaugeMetricFamily("mindweave_bus_outbox_age_seconds", "Age of the oldest of them")
    backlog = GaugeMetricFamily(
        "mindweave_bus_backlog", "Deliveries still to be made", labels=["subscription", "state"]
    )
    dead = GaugeMetricFamily("mindweave_bus_dead_letters", "Open dead letters", labels=["subscription"])
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(published_at)), 0)"
            " FROM events_outbox WHERE NOT relayed"
        )
        count, oldest = cursor.fetchone()
        outbox.add_metric([], count)
        age.add_metric([], max(0.0, float(oldest)))
        cursor.execute("SELECT subscription, state, count(*) FROM events_delivery GROUP BY 1, 2")
        for subscription, state, count in cursor.fetchall():
            backlog.add_metric([subscription, state], count)
        cursor.execute("SELECT subscription, count(*) FROM events_dead_letter WHERE status = 'open' GROUP BY 1")
        for subscription, count in cursor.fetchall():
            dead.add_metric([subscription], count)
    return [outbox, age, backlog, dead]
