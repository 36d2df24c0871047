"""What the first page of the staff admin shows: one panel a part of the product, each app's own.

An app puts its panels into ``apps/<app>/overview.py``, which the staff admin imports. A panel reads what is indexed or
counted already: the page is opened when something is wrong, and must not make it worse.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import redis
from django.conf import settings
from django.db import connection, transaction

from apps.core import health
from apps.core.web import figures

__all__ = ["Figure", "Panel", "Shown", "panels", "register_panel"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its words; ``note`` says what it is of."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel found. Each of ``problems`` is a sentence that says what is wrong and where."""

    figures: Sequence[Figure] = ()
    problems: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """A panel as the page shows it; ``url_names`` are the lists that explain it, by their words."""

    title: str
    panel: Panel
    links: Sequence[tuple[str, str]] = field(default=())


@dataclass(frozen=True, slots=True)
class _Registered:
    title: str
    load: Callable[[], Panel]
    links: Sequence[tuple[str, str]]
    order: int


_panels: dict[str, _Registered] = {}


def register_panel(
    *, key: str, title: str, load: Callable[[], Panel], links: Sequence[tuple[str, str]] = (), order: int = 100
) -> None:
    """``load`` reads across organisations, in a system scope. ``links`` are (words, name of a route of the admin)."""
    if key in _panels and _panels[key].load is not load:
        raise ValueError(f"the panel {key!r} is registered already")
    _panels[key] = _Registered(title, load, links, order)


def panels() -> list[Shown]:
    """All panels in order. One that cannot be read says so and leaves the others alone."""
    return [
        Shown(each.title, _loaded(key, each.load), each.links)
        for key, each in sorted(_panels.items(), key=lambda item: (item[1].order, item[0]))
    ]


def _loaded(key: str, load: Callable[[], Panel]) -> Panel:
    try:
        with transaction.atomic():
            return load()
    except Exception:
        logger.exception("overview_panel_failed", extra={"panel": key})
        return Panel(problems=["This part could not be read; the log of the web process says why."])


# ---------------------------------------------------------------- the kernel's own
def _health() -> Panel:
    found = {name: said for name, said in health.run_checks().items() if said != health.OK}
    problems = [f"{name}: {said}" for name, said in found.items()]
    began = time.perf_counter()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database()), count(*) FROM pg_stat_activity")
        size, connections = cursor.fetchone()
        cursor.execute("SHOW max_connections")
        most = int(cursor.fetchone()[0])
    took = (time.perf_counter() - began) * 1000
    if connections > 0.9 * most:
        problems.append(f"PostgreSQL has {connections} of {most} connections in use.")
    shown = [
        Figure("PostgreSQL", f"{took:.1f} ms", f"{size / 2**30:.2f} GiB, {connections} of {most} connections"),
    ]
    try:
        shown.append(_redis())
    except redis.RedisError:
        shown.append(Figure("Redis", "away", "limits let everything pass, pages are computed each time"))
        problems.append("Redis does not answer: jobs wait, limits let everything pass.")
    state = f"{len(found)} to look at" if found else "all well"
    return Panel([*shown, Figure("Checks", state, "as /health/ready says")], problems)


def _redis() -> Figure:
    client = redis.Redis.from_url(settings.RATE_LIMIT_REDIS_URL, socket_timeout=0.5, socket_connect_timeout=0.5)
    began = time.perf_counter()
    info = client.info("memory")
    took = (time.perf_counter() - began) * 1000
    client.close()
    return Figure("Redis", f"{took:.1f} ms", f"{figures.short(info['used_memory'])}B in use")


register_panel(key="core.health", title="Health", load=_health, order=10)
