"""Prometheus, all processes together.

prometheus_client keeps each process's values in a file of ``PROMETHEUS_MULTIPROC_DIR`` (set by the settings); a scrape
adds them up. What is a state rather than a count is read from the database at the scrape, by collectors that apps
register here.
"""

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "exposition", "register_collector"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_collectors: dict[str, Callable[[], Iterable[Any]]] = {}


def register_collector(name: str, collect: Callable[[], Iterable[Any]]) -> None:
    """``collect`` yields metric families at each scrape; it must be quick and cross organisations in a system scope."""
    _collectors[name] = collect


class _FromApps(Collector):
    def __init__(self, wanted: Callable[[str], bool]) -> None:
        self.wanted = wanted

    def collect(self) -> Iterable[Any]:
        for collect in _collectors.values():
            yield from (family for family in collect() if self.wanted(family.name))


class _Filtered(Collector):
    def __init__(self, inner: Collector, wanted: Callable[[str], bool]) -> None:
        self.inner, self.wanted = inner, wanted

    def collect(self) -> Iterable[Any]:
        return (family for family in self.inner.collect() if self.wanted(family.name))


def exposition(prefix: str = "") -> bytes:
    """The text of a scrape; ``prefix`` keeps the metrics whose names begin so."""

    def wanted(name: str) -> bool:
        return name.startswith(prefix)

    registry = CollectorRegistry()
    registry.register(_Filtered(MultiProcessCollector(None), wanted))  # type: ignore[no-untyped-call]
    registry.register(_FromApps(wanted))
    return generate_latest(registry)
