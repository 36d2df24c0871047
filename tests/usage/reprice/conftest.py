from tests.usage.engine.conftest import _fresh_caches, world  # noqa: F401 - fixtures
