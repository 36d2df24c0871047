"""The suite's own servers and what every test may use.

A real PostgreSQL and a real Redis are started for each session in a temporary directory, before Django reads its
settings, so several sessions never meet. `MINDWEAVE_TEST_DATABASE_URL` and `MINDWEAVE_TEST_REDIS_URL` name others.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

if sys.dont_write_bytecode:
    # Each of the many processes that tests start would compile all there is, which takes it five seconds.
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(Path(__file__).parents[1] / "var" / "pycache")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import django
import pytest

from tests import chromium

_NEEDS = {
    "chromium": chromium.NAMES,
    "node": ("node",),
    "kafka": ("kafka-server-start.sh",),
    "opa": ("opa",),
}
_IN_HAND = 8
_servers: list = []
_root: Path | None = None


def _start_servers() -> None:
    global _root
    os.environ.setdefault("MINDWEAVE_ENV", "development")
    os.environ.setdefault("SECRET_KEY", "tests-only-" + "k" * 50)
    if _root is not None:
        return
    from apps.core.dev.servers import start_postgres, start_redis

    _root = Path(tempfile.mkdtemp(prefix="mwt-"))
    os.environ["MINDWEAVE_DATA_DIR"] = str(_root / "data")
    if url := os.environ.get("MINDWEAVE_TEST_DATABASE_URL"):
        os.environ["DATABASE_URL"] = url
    else:
        postgres = start_postgres(_root, durable=False, options={"max_connections": "120"})
        _servers.append(postgres)
        os.environ["DATABASE_URL"] = postgres.url
    if url := os.environ.get("MINDWEAVE_TEST_REDIS_URL"):
        os.environ["REDIS_URL"] = url
    else:
        redis = start_redis(_root, durable=False)
        _servers.append(redis)
        os.environ["REDIS_URL"] = redis.url


# pyproject.toml names no settings module, so nothing has read the settings before this; other conftests import models.
_start_servers()
os.environ["DJANGO_SETTINGS_MODULE"] = "mindweave.settings"
django.setup()

from django.conf import settings  # noqa: E402 - not before the servers are named

# Argon2 is meant to be slow; the tests of the hashing itself ask for it back.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


def pytest_unconfigure(config: pytest.Config) -> None:
    for server in reversed(_servers):
        server.stop()
    if _root is not None:
        shutil.rmtree(_root, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whole instances and their browsers first, together: they share what takes long to start, and no process is left
    # alone with them in the end. They have databases of their own, so the order of the others is what it was.
    items.sort(key=lambda item: not _is_of_an_instance(item))
    for item in items:
        for need, programs in _NEEDS.items():
            if item.get_closest_marker(need) and not any(shutil.which(program) for program in programs):
                item.add_marker(pytest.mark.skip(reason=f"needs {need}: {' or '.join(programs)} is not on the PATH"))


def _is_of_an_instance(item: pytest.Item) -> bool:
    if not any(item.get_closest_marker(marker) for marker in ("chromium", "processes")):
        return False
    fixtures = set(getattr(item, "fixturenames", ()))
    return not (item.get_closest_marker("django_db") or {"db", "transactional_db", "live_server"} & fixtures)


@pytest.fixture(scope="session", autouse=True)
def _remembered_strength() -> Iterator[None]:
    """How good a password is takes some milliseconds to say, and the same people register before most tests."""
    from apps.identity import strength

    asked = cache(lambda password, words, length: strength_of(password, list(words), length))
    strength_of = strength.zxcvbn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            strength,
            "zxcvbn",
            lambda password, *, user_inputs, max_length: asked(password, tuple(user_inputs), max_length),
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def _static_files_found_once() -> Iterator[None]:
    """Every client of a test is a server of its own, which would look at hundreds of static files to begin with."""
    from whitenoise.middleware import WhiteNoiseMiddleware

    find, found = WhiteNoiseMiddleware.add_files_from_finders, {}

    def once(server: Any) -> None:
        if not found:
            find(server)
            found.update(server.files)
        server.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", once)
        yield


@pytest.fixture(autouse=True)
def _empty_redis() -> Iterator[None]:
    """No test sees another's rate limits, caches or queues."""
    from tests.forgetting import empty_redis

    yield
    empty_redis()


@pytest.fixture(autouse=True)
def _empty_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor its keys and sign-ins, which each process remembers for a moment.

    Sign-ins are asked for by every request here, so that the number of queries does not depend on the time it takes.
    """
    from apps.core.meanwhile import settled
    from apps.identity import book
    from tests.forgetting import forget_caches

    monkeypatch.setattr(book, "_CACHE_SECONDS", 0.0)
    settled()
    forget_caches()


@pytest.fixture(scope="session", autouse=True)
def _entered_in_the_book() -> Iterator[None]:
    """Django's own ``force_login`` of a test opens a session that the book of sign-ins knows."""
    from django.test import Client

    from tests.cast import enter

    plain = Client.force_login

    def force_login(client: Client, user: Any, backend: str | None = None) -> None:
        plain(client, user, backend)
        enter(client, user)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Client, "force_login", force_login)
        yield


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A test with real commits is followed by an emptying of all tables, which in Django's way takes half a second."""
    from django.test import TransactionTestCase

    from apps.audit.keys import close_connection
    from apps.core.meanwhile import settled
    from tests.emptying import empty_all, prepare_emptying

    with django_db_blocker.unblock():
        prepare_emptying()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_all())
        yield
    # They would keep the database of the tests from being removed.
    close_connection()
    settled()


@pytest.fixture(autouse=True)
def _list_prices(request: pytest.FixtureRequest) -> None:
    """The emptying after a test with real commits takes the prices of the migration with it."""
    if "transactional_db" not in request.fixturenames:
        return
    request.getfixturevalue("transactional_db")
    from apps.usage.models import Price, PriceBookVersion
    from apps.usage.pricing.book import forget_book
    from apps.usage.pricing.seed import list_prices

    if not Price.objects.exists():
        Price.objects.bulk_create([Price(**fields) for fields in list_prices()])
        PriceBookVersion.objects.update_or_create(pk=1, defaults={"version": time.time_ns()})
    forget_book()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Workers have servers of their own; a settings module in the environment is read before they name them."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """As ``--dist load``, but a worker has few tests in hand: none is left alone with a queue of long ones."""
    from xdist.scheduler import LoadScheduling

    class InSmallLots(LoadScheduling):
        def check_schedule(self, node: Any, duration: float = 0) -> None:
            if node.shutting_down or not self.pending:
                super().check_schedule(node, duration)
            elif len(self.node2pending[node]) < _IN_HAND:
                self._send_tests(node, _IN_HAND)

    return InSmallLots(config, log) if config.getvalue("dist") == "load" else None
