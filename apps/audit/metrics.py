"""Figures of the trail: what waits to be sealed, how far chains have come, when they were verified."""

from collections.abc import Iterable
from typing import Any

from django.db import connection
from prometheus_client.metrics_core import GaugeMetricFamily

from apps.audit.system_stream import operator_lag
from apps.core.metrics import register_collector

__all__ = ["register", "waiting"]


def register() -> None:
    """Have the figures read at each scrape."""
    register_collector("audit", _figures)


def waiting() -> tuple[int, float]:
    """How many entries are not sealed yet (counted to 10,000), and the age of the oldest of them in seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(occurred_at)), 0) FROM"
            " (SELECT e.occurred_at FROM audit_entry e, audit_sealer c WHERE (e.xid, e.seq) > (c.xid, c.seq)"
            " ORDER BY e.xid, e.seq LIMIT 10000) AS waiting"
        )
        count, oldest = cursor.fetchone()
    return count, max(0.0, float(oldest))


def _figures() -> Iterable[Any]:
    count, oldest = waiting()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), coalesce(sum(position), 0), count(*) FILTER (WHERE broken IS NOT NULL),"
            " coalesce(extract(epoch FROM now() - min(verified_at)), 0) FROM audit_chain"
        )
        chains, length, broken, verified = cursor.fetchone()
    lag = operator_lag()
    return [
        GaugeMetricFamily(
            "mindweave_audit_operator_lag", "Entries that wait for AUDIT_STREAM_URL, to 10,000", value=lag
        ),
        GaugeMetricFamily("mindweave_audit_unsealed_entries", "Entries not sealed yet, to 10,000", value=count),
        GaugeMetricFamily("mindweave_audit_unsealed_seconds", "Age of the oldest of them", value=oldest),
        GaugeMetricFamily("mindweave_audit_chains", "Chains of the audit trail", value=chains),
        GaugeMetricFamily("mindweave_audit_chain_entries", "Entries sealed in all chains", value=float(length)),
        GaugeMetricFamily("mindweave_audit_broken_chains", "Chains found broken", value=broken),
        GaugeMetricFamily(
            "mindweave_audit_verified_seconds", "Since the chain verified longest ago was", value=float(verified)
        ),
    ]
