from tests.usage.engine.conftest import _fresh_caches, committed  # noqa: F401 - fixtures
